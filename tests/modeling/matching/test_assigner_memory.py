"""217,413 anchors (800 x 1,333 over five levels) against 600 ground truths.

A matrix of their IoUs would take 520 MB.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip('resource', reason='peak memory is read from the operating system')

MEASURE = """
import json, resource, time
import torch
import mmfrcnn
from mmdet.models.task_modules import MaxIoUAssigner
from mmengine.structures import InstanceData
from mmfrcnn.modeling import AnchorAssigner
from mmfrcnn.structures.padded_instances import PaddedInstances

torch.set_num_threads(1)
generator = torch.Generator().manual_seed(0)

def boxes(count, smallest, largest):
    centre = torch.rand(count, 2, generator=generator) * torch.tensor([1333.0, 800.0])
    size = smallest + torch.rand(count, 2, generator=generator) * (largest - smallest)
    return torch.cat([centre - size / 2, centre + size / 2], 1)

def peak():  # MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

priors, truth = boxes(217_413, 8, 300), boxes(600, 4, 120)
priors[:600] = truth + 1
rpn = dict(pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3)
padded = PaddedInstances(truth[None], torch.ones(1, 600, dtype=torch.bool))
AnchorAssigner(**rpn).assign_batch(priors[:100], padded)  # warm up
before, start = peak(), time.perf_counter()
result = AnchorAssigner(**rpn).assign_batch(priors, padded)
seconds, extra = time.perf_counter() - start, peak() - before

# Without low-quality matches a prior's state depends on nothing but itself.
second = dict(pos_iou_thr=0.7, neg_iou_thr=0.3, match_low_quality=False)
some = torch.randperm(len(priors), generator=generator)[:2_000]
some[:250] = torch.arange(250)
brute = MaxIoUAssigner(**second).assign(
    InstanceData(priors=priors[some]),
    InstanceData(bboxes=truth, labels=torch.zeros(600, dtype=torch.int64)),
)
found = result.match_labels[0, some].long()
own = brute.gt_inds != found.clamp(max=1) * (result.matched_idxs[0, some] + 1)
own &= found != -1
# The rest are the best priors of some ground truth: check each from both sides.
from mmfrcnn.ops.iou import pairwise_iou
wrong = 0
targets = result.matched_idxs[0, some[own]].tolist()
for prior, target in zip(some[own].tolist(), targets):
    whole = pairwise_iou(truth[target][None], priors)[0]
    wrong += int(whole[prior] != whole.max() or whole.max() < 0.3)
same = torch.equal(result.max_iou[0, some], brute.max_overlaps)
positives = int((found == 1).sum())
print(json.dumps(dict(extra=extra, seconds=seconds, wrong=wrong, same=same,
                      overridden=int(own.sum()), positives=positives)))
"""


def test_memory_stays_within_200_mb_and_results_are_exact():
    done = subprocess.run(
        [sys.executable, '-c', MEASURE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    print(found)
    assert found['extra'] < 200
    assert found['same']
    assert found['wrong'] == 0
    assert found['positives'] > 100
    assert found['overridden'] < found['positives']
