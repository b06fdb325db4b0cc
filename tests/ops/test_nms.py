"""Grouped NMS against the definition: greedy, in Python, group by group."""

from __future__ import annotations

import pytest
import torch

from mmfrcnn.ops.backend import using
from mmfrcnn.ops.iou import pairwise_iou
from mmfrcnn.ops.nms import cpu, grouped_nms, reference, self_check
from mmfrcnn.ops.nms.overlap import single_threshold


def greedy_nms(boxes, scores, groups, iou_threshold):
    """Suppress as the definition says, in float64."""
    boxes, scores = boxes.double(), scores.double()
    overlap = pairwise_iou(boxes, boxes)
    rivals = (overlap > iou_threshold) & (groups[:, None] == groups)
    keep = torch.zeros(len(boxes), dtype=torch.bool)
    for i in scores.argsort(descending=True, stable=True).tolist():
        keep[i] = not (rivals[i] & keep).any()
    return keep


@pytest.fixture(params=['cpu', 'reference', 'cuda'])
def suppress(request):
    """Return the op with each of its implementations."""
    device = 'cpu'
    if request.param == 'cuda':
        device = request.getfixturevalue('kernel_device')

    def run(boxes, scores, groups, *rest):
        with using(request.param):
            found = grouped_nms(
                boxes.to(device), scores.to(device), groups.to(device), *rest
            )
        return found.cpu()

    return run


@pytest.mark.parametrize('threshold', [0.0, 0.3, 0.5, 0.7, 1.0])
@pytest.mark.parametrize('num_groups', [1, 3, 50])
def test_equals_greedy_suppression(random_boxes, suppress, threshold, num_groups):
    generator = torch.Generator().manual_seed(num_groups)
    boxes = random_boxes(75, generator)
    boxes = torch.cat([boxes, boxes + torch.rand(75, 4, generator=generator)])
    scores = torch.rand(150, generator=generator)
    groups = torch.randint(0, num_groups, (75,), generator=generator).repeat(2)
    kept = suppress(boxes, scores, groups, threshold)
    assert kept.dtype == torch.bool
    assert torch.equal(kept, greedy_nms(boxes, scores, groups, threshold))
    assert threshold == 1.0 or not kept.all()


def test_many_groups_of_large_images(random_boxes, suppress):
    # Groups far apart must not cost the boxes their fractions: with float32 offsets 640
    # groups of 1,333 px leave steps of 0.06 px.
    generator = torch.Generator().manual_seed(7)
    first = random_boxes(640, generator, extent=1333.0)
    # Partners of IoU just above and just below the threshold.
    width = first[:, 2:3] - first[:, :1]
    shift = torch.where(torch.arange(640)[:, None] % 2 == 0, 0.332, 0.335) * width
    second = first + torch.cat([shift, torch.zeros_like(shift)] * 2, 1)
    boxes, groups = torch.cat([first, second]), torch.arange(640).repeat(2)
    scores = torch.cat([torch.full((640,), 0.9), torch.full((640,), 0.8)])
    kept = suppress(boxes, scores, groups, 0.5)
    assert torch.equal(kept, greedy_nms(boxes, scores, groups, 0.5))
    assert kept[:640].all()
    assert torch.equal(kept[640:], torch.arange(640) % 2 == 1)


def test_ties_keep_the_earlier(suppress):
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0]]).repeat(6, 1)
    groups = torch.tensor([0, 0, 1, 1, 0, 1])
    kept = suppress(boxes, torch.full((6,), 0.5), groups, 0.5)
    assert kept.tolist() == [True, False, True, False, False, False]


def test_iou_at_the_threshold_survives(suppress):
    boxes = torch.tensor([[0.0, 0.0, 4.0, 2.0], [0.0, 0.0, 4.0, 1.0]])  # IoU 0.5
    scores, groups = torch.tensor([0.9, 0.8]), torch.zeros(2, dtype=torch.int64)
    assert suppress(boxes, scores, groups, 0.5).all()
    assert suppress(boxes, scores, groups, 0.49).tolist() == [True, False]


@pytest.mark.parametrize(
    'height, threshold', [(tall, tall / 10) for tall in range(1, 10)]
)
def test_a_tie_that_no_float_holds_survives(suppress, height, threshold):
    """10x10 with 10x6 at 0.6: the IoU is the threshold, whatever both round to."""
    pair = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, height]])
    boxes = torch.cat([pair, pair + 7.3125, pair + 1216.46875])
    groups = torch.arange(3).repeat_interleave(2)
    scores = torch.tensor([0.9, 0.8]).repeat(3)
    assert suppress(boxes, scores, groups, threshold).all()
    kept = suppress(boxes, scores, groups, threshold - 1e-6)
    assert kept.tolist() == [True, False] * 3


def iou_in_double(first, second):
    """Divide in Python's numbers, in the order of torchvision's CPU kernel."""
    a, b = first.tolist(), second.tolist()
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (a, b)]
    return width * height / (sum(areas) - width * height)


@pytest.mark.parametrize('threshold', [0.3, 0.5, 0.7])
def test_a_hair_from_the_threshold(random_boxes, suppress, threshold):
    """What single precision alone decides by chance is decided right."""
    generator = torch.Generator().manual_seed(13)
    first = random_boxes(100, generator, extent=1333.0)
    second = first.clone()
    second[:, 2] = first[:, 0] + threshold * (first[:, 2] - first[:, 0])
    for side in (0, 2):  # half of them a bit narrower, half of all a bit wider
        moved = torch.nextafter(second[:, 2], first[:, side])
        chosen = torch.rand(100, generator=generator) < 0.5
        second[:, 2] = torch.where(chosen, moved, second[:, 2])
    limit = single_threshold(threshold)
    over = [iou_in_double(*pair) > limit for pair in zip(first, second, strict=True)]
    assert 20 < sum(over) < 80
    scores, groups = torch.linspace(1, 0, 200), torch.arange(100).repeat(2)
    kept = suppress(torch.cat([first, second]), scores, groups, threshold)
    assert kept[:100].all()
    assert kept[100:].tolist() == [not above for above in over]
    naive = pairwise_iou(first[:, None], second[:, None]).flatten() > threshold
    assert naive.tolist() != over


def test_negative_coordinates_and_sparse_groups(random_boxes, suppress):
    generator = torch.Generator().manual_seed(8)
    boxes = random_boxes(60, generator) - 500.0
    scores = torch.rand(60, generator=generator)
    groups = torch.randint(0, 3, (60,), generator=generator) * 1000
    expected = greedy_nms(boxes, scores, groups, 0.4)
    assert torch.equal(suppress(boxes, scores, groups, 0.4), expected)


def test_no_boxes(suppress):
    nothing = torch.zeros(0, dtype=torch.int64)
    kept = suppress(torch.zeros(0, 4), torch.zeros(0), nothing, 0.5)
    assert kept.shape == (0,)
    assert kept.dtype == torch.bool


def test_one_box_after_another_decides(suppress):
    """A chain, the longest there can be: each box overlaps its neighbours alone."""
    right = torch.arange(90)[:, None] * torch.tensor([4.0, 0.0, 4.0, 0.0])
    boxes = right + torch.tensor([0.0, 0.0, 10.0, 10.0])
    scores, groups = torch.linspace(1, 0, 90), torch.zeros(90, dtype=torch.int64)
    assert suppress(boxes, scores, groups, 0.3).tolist() == [True, False] * 45


def hostile_case(hostile_boxes, count, num_groups, *, seed, **how):
    """Make boxes that are none, scores that tie or are no numbers, and groups."""
    generator = torch.Generator().manual_seed(seed)
    boxes = hostile_boxes(count, generator, **how)
    scores = torch.randint(0, 40, (count,), generator=generator) / 40
    scores[torch.rand(count, generator=generator) < 0.05] = float('nan')
    return boxes, scores, torch.randint(0, num_groups, (count,), generator=generator)


@pytest.mark.parametrize('grid', [None, 8.0])
@pytest.mark.parametrize('num_groups', [1, 4, 60])
@pytest.mark.parametrize('threshold', [-1.0, 0.0, 0.5, 0.7, 1.0])
def test_plain_operators_decide_as_the_cpu(hostile_boxes, grid, num_groups, threshold):
    case = hostile_case(hostile_boxes, 300, num_groups, seed=num_groups, grid=grid)
    expected = cpu.grouped_nms(*case, threshold)
    largest = int(case[2].bincount().max())
    for bounds in ((), (largest, num_groups), (largest + 7, num_groups + 1)):
        assert torch.equal(reference.grouped_nms(*case, threshold, *bounds), expected)


@pytest.mark.filterwarnings('ignore::RuntimeWarning')  # of NumPy, which interprets
@pytest.mark.parametrize('grid', [None, 8.0])
@pytest.mark.parametrize(
    'num_groups, threshold', [(1, 0.5), (2, 0.7), (30, 0.5), (9, -1.0)]
)
def test_the_kernel_decides_as_the_cpu(
    hostile_boxes, kernel_device, grid, num_groups, threshold
):
    case = hostile_case(
        hostile_boxes, 150, num_groups, seed=num_groups, grid=grid, share=0.01
    )
    expected = cpu.grouped_nms(*case, threshold)
    with using('cuda'):
        found = grouped_nms(*(part.to(kernel_device) for part in case), threshold)
    assert torch.equal(found.cpu(), expected)


def test_one_box(suppress):
    box, group = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([3])
    assert suppress(box, torch.tensor([0.5]), group, 0.5).tolist() == [True]


def test_boxes_without_area_are_kept(suppress):
    boxes = torch.zeros(5, 4)
    groups = torch.zeros(5, dtype=torch.int64)
    assert suppress(boxes, torch.rand(5), groups, 0.5).all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(random_boxes, suppress, dtype):
    generator = torch.Generator().manual_seed(9)
    # Whole pixels and distinct quarter scores are exact in every one of the types.
    boxes = random_boxes(80, generator, grid=10).to(dtype)
    scores = (torch.randperm(80, generator=generator) / 128).to(dtype)
    groups = torch.randint(0, 4, (80,), generator=generator)
    expected = greedy_nms(boxes, scores, groups, 0.35)
    assert torch.equal(suppress(boxes, scores, groups, 0.35), expected)


def test_a_kernel_that_decides_otherwise_is_found_out(kernel_device, monkeypatch):
    self_check(kernel_device)
    from mmfrcnn.ops.nms import cuda

    kernel = cuda.grouped_nms

    def wrong(*arguments):
        return ~kernel(*arguments)

    monkeypatch.setattr(cuda, 'grouped_nms', wrong)
    with pytest.raises(RuntimeError, match=r'\d+ of 400 boxes are decided otherwise'):
        self_check(kernel_device)


def test_is_a_sound_operator(random_boxes):
    generator = torch.Generator().manual_seed(10)
    boxes, scores = random_boxes(20, generator), torch.rand(20, generator=generator)
    groups = torch.randint(0, 3, (20,), generator=generator)
    torch.library.opcheck(grouped_nms, (boxes, scores, groups, 0.5))
    torch.library.opcheck(grouped_nms, (boxes, scores, groups, 0.5, 20, 3))
    nothing = torch.zeros(0, dtype=torch.int64)
    torch.library.opcheck(
        grouped_nms, (torch.zeros(0, 4), torch.zeros(0), nothing, 0.5)
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_cuda_equals_cpu(random_boxes):
    generator = torch.Generator().manual_seed(11)
    boxes = random_boxes(3000, generator, extent=1333.0)
    scores = torch.rand(3000, generator=generator)
    groups = torch.randint(0, 40, (3000,), generator=generator)
    expected = grouped_nms(boxes, scores, groups, 0.5)
    for implementation in ('cuda', 'reference'):
        with using(implementation):
            found = grouped_nms(boxes.cuda(), scores.cuda(), groups.cuda(), 0.5, 200)
        assert torch.equal(found.cpu(), expected)
