"""What grouped NMS costs, by count: pairs of boxes, bytes, questions to the device.

The plain operators are counted on tensors without data, so that the largest batch is
counted in seconds; which also shows that no shape and no step depends on data.
"""

from __future__ import annotations

import weakref

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmfrcnn.ops.nms import line, reference

# The best 2,000 of each level of an 800x1344 image's anchors; the last has no more.
LEVELS = (2000, 2000, 2000, 2000, 819)


def boxes_without_data(count, device='meta'):
    boxes = torch.empty(count, 4, device=device)
    return boxes, boxes[:, 0], torch.empty(count, dtype=torch.int64, device=device)


@pytest.fixture
def pairs(monkeypatch):
    """Return a counter of the pairs that the plain operators compare."""
    overlaps, counted = reference.overlaps, []

    def counting(first, second, threshold):
        found = overlaps(first, second, threshold)
        counted.append(found.numel())
        return found

    monkeypatch.setattr(reference, 'overlaps', counting)

    def count(boxes, largest_group, num_groups):
        counted.clear()
        reference.grouped_nms(
            *boxes_without_data(boxes), 0.7, largest_group, num_groups
        )
        return sum(counted)

    return count


def test_pairs_of_proposals_are_the_squares_of_the_levels(pairs):
    """So they grow with the images as the boxes do, where all pairs grow squared."""
    sizes = [size // 10 for size in LEVELS]
    found = {
        images: pairs(images * sum(sizes), max(sizes), images * len(sizes))
        for images in (1, 4, 16)
    }
    for images, count in found.items():
        assert count <= images * len(sizes) * max(sizes) ** 2
        assert count == pytest.approx(images * found[1], rel=0.01)
    print(found)


@pytest.mark.parametrize('largest', [100, 300])
def test_pairs_of_detections_do_not_grow_with_the_classes(pairs, largest):
    """However few boxes a class holds, and where nobody says how many classes."""
    boxes = 4 * 300
    few, many = pairs(boxes, largest, 4 * 3), pairs(boxes, largest, 4 * 1203)
    assert pairs(boxes, largest, None) == many
    assert few <= many <= boxes * (largest + 4 * reference.TILE)


def tensors(found):
    return [leaf for leaf in tree_leaves(found) if isinstance(leaf, torch.Tensor)]


class Allocated(TorchDispatchMode):
    """Follows the bytes of all tensors that operators return.

    Attributes:
        bytes (int): Now.
        peak (int): At most.
    """

    def __init__(self):
        super().__init__()
        self.bytes = self.peak = 0
        self._known = weakref.WeakSet()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for tensor in tensors(found):
            storage = tensor.untyped_storage()
            if storage not in self._known:
                self._known.add(storage)
                self._add(storage.nbytes())
                weakref.finalize(storage, self._add, -storage.nbytes())
        return found

    def _add(self, count):
        self.bytes += count
        self.peak = max(self.peak, self.bytes)


@pytest.mark.parametrize('images, megabytes', [(1, 30), (16, 180), (64, 300)])
def test_memory_of_a_training_batch(images, megabytes, monkeypatch):
    # Thousands of small steps over a few bytes, left out to save a minute.
    monkeypatch.setattr(reference, '_suppressed', lambda over: over[..., 0])
    arguments = boxes_without_data(images * sum(LEVELS))
    with Allocated() as allocated:
        reference.grouped_nms(*arguments, 0.7, max(LEVELS), images * len(LEVELS))
    print(f'{images} images: {allocated.peak / 1e6:.0f} MB')
    assert allocated.bytes == 0
    assert allocated.peak < megabytes * 1e6


def test_a_card_is_asked_nothing():
    """Everything stays on it; reading a value from it would raise."""

    class Devices(TorchDispatchMode):
        seen = set()

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            found = function(*args, **(kwargs or {}))
            self.seen.update(str(tensor.device) for tensor in tensors(found))
            return found

    with FakeTensorMode():
        arguments = boxes_without_data(200, 'cuda:0')
        with Devices() as devices:
            kept = reference.grouped_nms(*arguments, 0.7, 50, 10)
    assert devices.seen == {'cuda:0'}
    assert (kept.shape, kept.dtype) == ((200,), torch.bool)


@pytest.mark.parametrize('sizes', [(300,), (130, 70, 1, 1), (3,) * 100])
def test_pairs_of_the_kernel(random_boxes, kernel_device, monkeypatch, sizes):
    """Half the square of a group, in whole tiles; small groups share a tile."""
    from mmfrcnn.ops.nms import cuda

    if kernel_device.type != 'cpu':
        pytest.skip('calls are counted in the interpreter')
    overlaps, tiles = cuda.overlaps, []

    def counting(*args):
        tiles.append(1)
        return overlaps(*args)

    monkeypatch.setattr(cuda, 'overlaps', counting)
    groups = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    generator = torch.Generator().manual_seed(12)
    boxes = random_boxes(len(groups), generator)
    cuda.grouped_nms(boxes, boxes[:, 0], groups, 0.5)
    most = sum((size + 2 * cuda.TILE) ** 2 / 2 for size in sizes if size > cuda.TILE)
    small = sum(size for size in sizes if size <= cuda.TILE)
    assert 0 < len(tiles) * cuda.TILE**2 <= most + 3 * cuda.TILE * (small + cuda.TILE)


def test_the_line():
    scores = torch.tensor([0.5, 0.9, float('nan'), 0.5, 0.1])
    order, start = line.line_up(scores, torch.tensor([7, 2, 7, 7, 2]))
    assert order.tolist() == [1, 4, 2, 0, 3]
    assert start.tolist() == [0, 0, 2, 2, 2]
