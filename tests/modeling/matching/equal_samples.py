"""Equal samples for a head of ours and one of mmdet's, each with its own parts.

What our sampler draws is written down, and mmdet's `RandomSampler` is made to take the
same boxes, after a check that it might have: as many as it asks for, among those that
mmdet's own assigner has matched alike.
"""

from __future__ import annotations

from collections import deque
from types import ModuleType

import torch
from mmdet.models.task_modules.samplers import RandomSampler
from pytest import MonkeyPatch
from torch import Tensor


def follow_our_sampler(monkeypatch: MonkeyPatch, head: ModuleType) -> deque:
    """Make mmdet's sampler follow ours, image by image in the order drawn.

    Args:
        monkeypatch (MonkeyPatch): Undoes it.
        head (ModuleType): The module of our head, which calls `sample_batch`.

    Returns:
        deque: Positive and negative boxes, (k, 4) each, of each image that mmdet's
        sampler has yet to draw from.
    """
    drawn: deque[Tensor] = deque()
    sample_batch = head.sample_batch  # type: ignore[attr-defined]

    def write_down(sampler, assignment, keys, priors, gt, **options):
        sample = sample_batch(sampler, assignment, keys, priors, gt, **options)
        candidates = priors.expand(len(gt.boxes), -1, -1)
        if sampler.add_gt_as_proposals:
            candidates = torch.cat([gt.boxes, candidates], 1)
        negative = sample.valid & ~sample.positive
        for image, index in enumerate(sample.indices):
            for wanted in (sample.positive[image], negative[image]):
                drawn.append(candidates[image, index[wanted]])
        return sample

    def take_positives(self, assign_result, num_expected, bboxes, **_):
        return _find(drawn.popleft(), bboxes, assign_result.gt_inds > 0, num_expected)

    def take_negatives(self, assign_result, num_expected, bboxes, **_):
        return _find(drawn.popleft(), bboxes, assign_result.gt_inds == 0, num_expected)

    monkeypatch.setattr(head, 'sample_batch', write_down)
    monkeypatch.setattr(RandomSampler, '_sample_pos', take_positives)
    monkeypatch.setattr(RandomSampler, '_sample_neg', take_negatives)
    return drawn


def _find(boxes: Tensor, candidates: Tensor, allowed: Tensor, count: int) -> Tensor:
    """Return the places of boxes among the allowed candidates, each taken once."""
    assert len(boxes) == min(count, int(allowed.sum()))
    free, places = allowed.clone(), []
    for box in boxes:
        # Those of a cascade's later stages are equal but for rounding.
        near = (candidates - box).abs().amax(1) < 1e-3
        place = int((free & near).nonzero()[0])
        free[place] = False
        places.append(place)
    return torch.tensor(places, dtype=torch.int64, device=boxes.device)
