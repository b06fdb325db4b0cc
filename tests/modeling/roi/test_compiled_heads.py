"""Compiled heads of masks and cascades: no graph breaks, and the same results."""

from __future__ import annotations

import copy

import pytest
import torch
from torch._dynamo.utils import counters

from mmfrcnn.ops.backend import using
from mmfrcnn.training.compiled import compile_detector

from .conftest import run_losses
from .test_head_waits import HEADS, batch_of, head_of


@pytest.mark.parametrize('kind', HEADS)
def test_losses_and_detections(kind, masked_samples):
    plain = head_of(kind)
    torch._dynamo.reset()
    counters.clear()
    detector = torch.nn.ModuleDict(dict(roi_head=copy.deepcopy(plain)))
    compiled = compile_detector(detector, backend='eager').roi_head
    batch = batch_of(2, masked_samples)
    with using('reference'):
        found = [run_losses(head.train(), *batch) for head in (compiled, plain)]
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        results, expected = (
            head.eval().predict(*copy.deepcopy(batch)) for head in (compiled, plain)
        )
    for mine, other in zip(results, expected, strict=True):
        assert len(mine) > 0
        torch.testing.assert_close(mine.bboxes, other.bboxes)
        assert torch.equal(mine.masks, other.masks)
    # Box head, mask head, loss; of a cascade, the heads of each stage.
    assert counters['stats']['unique_graphs'] >= (7 if kind == 'cascade' else 3)
    assert not counters['graph_break']
