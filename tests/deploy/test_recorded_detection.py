"""Recorded inference finds what any other does; a trace stands for a GPU's graph."""

from __future__ import annotations

import pytest
import torch

from mmfrcnn.deploy.cuda_graphs import RecordedDetection
from mmfrcnn.deploy.prepare import prepare_for_inference
from mmfrcnn.errors import UserError
from mmfrcnn.ops.backend import using
from tests.training.recorded import BATCHES, batch, build, small_config, trace


def detector_of(name='faster-rcnn_r50_fpn'):
    config = small_config(name)
    config.test_cfg.rpn.update(nms_pre=40, max_per_img=30)
    config.test_cfg.rcnn.update(score_thr=0.01, max_per_img=20)
    return build(config).eval()


@torch.no_grad()
@pytest.mark.parametrize('name', ['faster-rcnn_r50_fpn', 'cascade-rcnn_r50_fpn'])
def test_finds_the_same(name):
    detector, said, kept = detector_of(name), [], []
    with using('reference'):
        for recorded in (False, True):
            if recorded:
                detector.detect = RecordedDetection(detector, trace, said.append)
            # Packed into lists when all are done: no replay may write over another's.
            kept.append(
                [
                    detector(**batch(detector, sizes, seed, False), mode='predict')
                    for seed, sizes in enumerate(BATCHES[1:4])
                ]
            )
    assert len(said) == 2 and said[0] == 'Recorded step 1: 2 images of 64x96.'
    for expected, found in zip(*kept, strict=True):
        for one, other in zip(expected, found, strict=True):
            assert len(one.pred_instances) > 3
            for key in ('bboxes', 'scores', 'labels'):
                torch.testing.assert_close(
                    other.pred_instances[key], one.pred_instances[key]
                )


def test_what_waits_is_refused():
    detector = detector_of()
    detector.roi_head.test_cfg['nms'] = dict(type='soft_nms', iou_threshold=0.5)
    with pytest.raises(UserError, match="the type 'soft_nms'"):
        RecordedDetection(detector, trace, print)
    with pytest.raises(UserError, match='a mask head'):
        RecordedDetection(build(small_config('mask-rcnn_r50_fpn')), trace, print)
    with pytest.raises(UserError, match='needs a GPU'):
        prepare_for_inference(detector_of(), recorded=True)
