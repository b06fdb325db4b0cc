"""How often a step makes the host wait for a GPU: no more often for a larger batch.

Counted on a CPU by the operators that need a value or a size from the device, on the
paths that a GPU takes.
"""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmfrcnn.roi import PyramidRoIExtractor

WAITING = (
    'aten.nonzero',
    'aten._local_scalar_dense',
    'aten._unique',
    'aten.unique',
    'aten.masked_select',
    'aten.is_nonzero',
    'aten.item',
    'aten.equal',
    'aten.bincount',
    'aten.repeat_interleave.Tensor',
    'torchvision.nms',
    'mmfrcnn.grouped_nms',
)
INDEXING = ('aten.index.', 'aten.index_put', 'aten._index_put')


class Counted(TorchDispatchMode):
    """Count all operators, and those that make the host wait."""

    def __init__(self):
        super().__init__()
        self.total = 0
        self.waits = Counter()
        self.inside = False  # an operator: what its CPU kernel asks is no matter

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = str(function)
        self.total += 1
        if name.startswith(WAITING):
            self.waits[name] += 1
        elif name.startswith(INDEXING):
            masks = [i for i in args[1] if i is not None and i.dtype == torch.bool]
            self.waits[name + ' by mask'] += len(masks)
        self.inside = True
        try:
            return function(*args, **(kwargs or {}))
        finally:
            self.inside = False


@pytest.fixture
def count(monkeypatch):
    """Return a function: operators and waits of a call."""

    def run(function):
        counted = Counted()
        for method in ('tolist', 'numpy', 'cpu'):
            original = getattr(torch.Tensor, method)

            def spied(tensor, *args, _method=method, _original=original, **kwargs):
                counted.waits[f'Tensor.{_method}'] += not counted.inside
                return _original(tensor, *args, **kwargs)

            monkeypatch.setattr(torch.Tensor, method, spied)
        with counted:
            function()
        monkeypatch.undo()
        counted.waits = Counter({k: n for k, n in counted.waits.items() if n})
        return counted

    return run


@pytest.fixture
def gpu_path(monkeypatch):
    """Pool as on a GPU: the CPU's weighted gather asks for sizes freely."""

    def forward(self, feats, rois, roi_scale_factor=None):
        return self._pool_levels(feats, rois, self.map_roi_levels(rois, len(feats)))

    return lambda: monkeypatch.setattr(PyramidRoIExtractor, 'forward', forward)


BATCH_SIZES = (2, 8, 16)


@pytest.mark.parametrize('mode, most', [('loss', 6), ('predict', 4)])
def test_waits_do_not_depend_on_the_batch(
    our_config, build, collate, fabricated, count, gpu_path, mode, most
):
    our_config.train_cfg.rpn_proposal.update(nms_pre=200, max_per_img=100)
    our_config.test_cfg.rpn.update(nms_pre=200, max_per_img=100)
    model = build(our_config)
    model.train(mode == 'loss')
    found = {}
    for size in BATCH_SIZES:
        # As many objects in the largest image of each batch; some images have none.
        sizes = [(96, 128, 5 if i % 4 == 0 else i % 4 - 1) for i in range(size)]
        data = collate(model, fabricated(sizes), mode == 'loss')
        with torch.set_grad_enabled(mode == 'loss'):
            model(**data, mode=mode)  # anchors are made once a shape
            gpu_path()
            found[size] = count(lambda data=data: model(**data, mode=mode))
    for size, counted in found.items():
        print(f'{mode} batch {size}: {counted.total} operators,', dict(counted.waits))
    waits = [sum(counted.waits.values()) for counted in found.values()]
    assert len({tuple(sorted(c.waits.items())) for c in found.values()}) == 1
    assert waits[0] <= most
    # Nor does the number of operators; only detections are packed image by image.
    if mode == 'loss':
        totals = [counted.total for counted in found.values()]
        assert totals[-1] <= 1.1 * totals[0]


def test_stock_parts_are_counted_too(stock_config, build, collate, fabricated, count):
    """The counter sees what it is meant to see: mmdet's parts wait image by image."""
    model = build(stock_config()).train()
    waits = []
    for size in (1, 3):
        data = collate(model, fabricated([(96, 128, 3)] * size), True)
        counted = count(lambda data=data: model(**data, mode='loss'))
        waits.append(sum(counted.waits.values()))
    assert waits[0] > 20
    assert waits[1] > 2 * waits[0]
