"""What an assignment allocates and launches, as a function of N, S and G: by count.

On a fake card, so at full size: a batch of 16 images of 800 x 1,344 has 267,069 anchors
an image over five levels.
"""

from __future__ import annotations

import pytest
import torch
from mmfrcnn_benchmark.traffic import Traffic
from torch._subclasses.fake_tensor import FakeTensorMode

from mmfrcnn.modeling.assigner import AnchorAssigner
from mmfrcnn.ops.iou import pairwise_iou
from mmfrcnn.ops.match import reference
from mmfrcnn.structures.padded_instances import PaddedInstances

ANCHORS = 267_069
MEGABYTE = 1 << 20


def boxes(images, slots, anchors=ANCHORS):
    gt_mask = torch.zeros(images, slots, dtype=torch.bool)
    return torch.zeros(1, anchors, 4), torch.zeros(images, slots, 4), gt_mask


def assignment_traffic(images, slots):
    """Count an assignment, with all that is in it but the kernel."""
    with FakeTensorMode(), torch.device('cuda'):
        anchors, gt_boxes, gt_mask = boxes(images, slots)
        prior_mask = torch.zeros(images, ANCHORS, dtype=torch.bool)
        with Traffic() as traffic:
            AnchorAssigner(0.7, 0.3, 0.3).assign_batch(
                anchors[0], PaddedInstances(gt_boxes, gt_mask), None, prior_mask
            )
    return traffic


@pytest.fixture
def count_kernel(kernel, monkeypatch):
    """Return a counter of what lies around the kernel, which is not run."""

    def run(images, slots, anchors=ANCHORS):
        launched = []

        class Grid:
            def __getitem__(self, grid):
                return lambda *args, **options: launched.append(grid)

        monkeypatch.setattr(kernel, 'nearest_kernel', Grid())
        monkeypatch.setattr(kernel, 'ties_kernel', Grid())
        with FakeTensorMode(), Traffic() as traffic:
            kernel.match(*boxes(images, slots, anchors), None, 0.3, True)
        return traffic, launched

    return run


@pytest.fixture
def kernel():
    pytest.importorskip('triton', reason='Triton is not installed')
    from mmfrcnn.ops.match import cuda

    return cuda


def reference_traffic(images, slots, anchors=ANCHORS):
    with FakeTensorMode(), torch.device('cuda'), Traffic() as traffic:
        reference.match(*boxes(images, slots, anchors), None, 0.3, True, pairwise_iou)
    return traffic


def test_bytes_of_an_assignment():
    """24 a prior: results 13, the kernel's 12, one of both, and masks; none a pair."""
    for slots in (8, 100, 3000):
        traffic = assignment_traffic(16, slots)
        print(f'16 images, {slots} slots: {traffic.peak / MEGABYTE:.0f} MB')
        assert traffic.peak <= 24 * 16 * ANCHORS + 64 * 16 * slots


def test_launches_of_an_assignment():
    """As many for any batch; the kernel counts as one and is two, and a fill."""
    counted = [assignment_traffic(*sizes) for sizes in ((1, 8), (2, 3000), (16, 100))]
    assert {traffic.launches for traffic in counted} == {20}
    assert counted[-1].moved <= 110 * 16 * ANCHORS


def test_the_kernel_allocates_its_result_and_a_number_a_ground_truth(
    count_kernel, kernel
):
    for images, slots, anchors in ((1, 8, ANCHORS), (16, 100, ANCHORS), (2, 3000, 130)):
        traffic, launched = count_kernel(images, slots, anchors)
        given = images * slots * 17 + anchors * 16  # what a caller holds anyway
        made = images * anchors * 12 + images * slots * 8
        assert traffic.peak == given + made
        programs = -(-anchors // kernel.BLOCK), images
        assert launched == [programs, programs]


def test_bytes_of_all_pairs():
    """Of plain operators: one ground truth of every image at a time, at least."""
    for slots in (8, 32):
        traffic = reference_traffic(16, slots)
        print(f'16 images, {slots} slots: {traffic.peak / MEGABYTE:.0f} MB')
        assert traffic.peak <= 42 * 16 * ANCHORS + 64 * 16 * slots
    # Of few priors many at a time, but no more than the bound.
    assert reference_traffic(1, 100).peak <= 100 * MEGABYTE
    assert reference_traffic(2, 3000, 1000).peak <= 100 * MEGABYTE


def test_launches_of_all_pairs():
    """Some 40 a chunk, and as many chunks as the bound makes of the pairs."""
    for images, slots in ((1, 8), (1, 100), (4, 30)):
        step = max(1, reference.PAIRS_PER_CHUNK // (images * ANCHORS))
        chunks = -(-slots // step)
        assert reference_traffic(images, slots).launches <= 40 * chunks + 10
