"""How often a step makes the host wait for a GPU: no more often for a larger batch.

Counted on a CPU by the operators that need a value or a size from the device, on the
paths that a GPU takes.
"""

from __future__ import annotations

import warnings

import pytest
import torch
from mmfrcnn_benchmark.counts import count_operators

from mmfrcnn.ops.backend import using

BATCH_SIZES = (2, 8, 16)


@pytest.mark.parametrize('mode, most', [('loss', 6), ('predict', 4)])
def test_waits_do_not_depend_on_the_batch(
    our_config, build, collate, fabricated, mode, most
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
            with using('reference'):
                found[size] = count_operators(
                    lambda data=data: model(**data, mode=mode)
                )
    for size, counted in found.items():
        print(f'{mode} batch {size}: {counted.total} operators,', dict(counted.waits))
    waits = [sum(counted.waits.values()) for counted in found.values()]
    assert len({tuple(sorted(c.waits.items())) for c in found.values()}) == 1
    assert waits[0] <= most
    # Nor does the number of operators; only detections are packed image by image.
    if mode == 'loss':
        totals = [counted.total for counted in found.values()]
        assert totals[-1] <= 1.1 * totals[0]
        assert totals[1] < 3099 / 2  # torchvision's, the fewest of the peers


def test_stock_parts_are_counted_too(stock_config, build, collate, fabricated):
    """The counter sees what it is meant to see: mmdet's parts wait image by image."""
    model = build(stock_config()).train()
    waits = []
    for size in (1, 3):
        data = collate(model, fabricated([(96, 128, 3)] * size), True)
        counted = count_operators(lambda data=data: model(**data, mode='loss'))
        waits.append(sum(counted.waits.values()))
    assert waits[0] > 20
    assert waits[1] > 2 * waits[0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
@pytest.mark.parametrize('mode, most', [('loss', 6), ('predict', 4)])
@pytest.mark.parametrize('size', [2, 8])
def test_cuda_waits_as_rarely(our_config, build, collate, fabricated, mode, most, size):
    """CUDA's own count of what makes the host wait."""
    model = build(our_config).cuda()
    model.train(mode == 'loss')
    sizes = [(96, 128, 5)] * size
    data = collate(model, fabricated(sizes), mode == 'loss')
    with torch.set_grad_enabled(mode == 'loss'):
        model(**data, mode=mode)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            torch.cuda.set_sync_debug_mode('warn')
            try:
                model(**data, mode=mode)
            finally:
                torch.cuda.set_sync_debug_mode('default')
    waits = [str(one.message) for one in caught if 'synchroniz' in str(one.message)]
    # Detections are packed, image by image, on the host.
    assert len(waits) <= most + (size if mode == 'predict' else 0), waits
