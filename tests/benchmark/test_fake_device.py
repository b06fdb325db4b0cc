"""The fake device sees what it is meant to see, and refuses what no host can know."""

from __future__ import annotations

import mmfrcnn  # noqa: F401  (before mmdet, which it makes importable)

# isort: split
import numpy as np
import pytest
import torch
from mmfrcnn_benchmark.fake_device import DEVICE, fake_device
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
)

from mmfrcnn.structures.transfer import to_device


def ones():
    return torch.ones(3, device=DEVICE)


WAITING = {
    'torch.tensor': lambda: torch.tensor([1.0, 2.0], device=DEVICE),
    'torch.tensor of a number': lambda: torch.tensor(1.0, device=DEVICE),
    'new_tensor': lambda: ones().new_tensor([1.0, 2.0]),
    'list of indices': lambda: ones()[[0, 2]],
    'indices of the host': lambda: ones()[torch.arange(2)],
    'pageable': lambda: torch.zeros(2).to(DEVICE, non_blocking=True),
    'from numpy': lambda: torch.from_numpy(np.zeros(2)).to(DEVICE, non_blocking=True),
    'pinned, blocking': lambda: torch.zeros(2).pin_memory().to(DEVICE),
    'copy_': lambda: ones().copy_(torch.zeros(3)),
    'cpu': lambda: ones().cpu(),
    'cpu, non_blocking': lambda: ones().to('cpu', non_blocking=True),
    'copy_ to the host': lambda: torch.zeros(3).copy_(ones()),
}
FREE = {
    'factories': lambda: torch.arange(3, device=DEVICE) + torch.zeros(3, device=DEVICE),
    'a number': lambda: ones() * 2.5 + torch.tensor(2.0),
    'masked_fill': lambda: ones().masked_fill_(ones() > 0, 3.0),
    'pinned': lambda: torch.zeros(2).pin_memory().to(DEVICE, non_blocking=True),
    'pinned copy_': lambda: ones().copy_(torch.zeros(3).pin_memory(), True),
    'transfer': lambda: to_device({'a': np.zeros(3), 'b': np.zeros(2, int)}, DEVICE),
    'of the host': lambda: torch.arange(3).sum().item() + len(torch.ones(3).nonzero()),
    'to a type': lambda: ones().half().to(torch.float32),
}
UNKNOWN = {
    'nonzero': lambda: ones().nonzero(),
    'item': lambda: ones().sum().item(),
    'tolist': lambda: ones().tolist(),
    'if': lambda: 1 if ones().sum() > 0 else 0,
    'boolean indexing': lambda: ones()[ones() > 0],
    'unique': lambda: ones().unique(),
}


@pytest.mark.parametrize('what', WAITING)
def test_a_wait_is_counted(what):
    with fake_device() as counted:
        WAITING[what]()
    assert counted.waits.total() == 1, counted.waits


@pytest.mark.parametrize('what', FREE)
def test_what_the_host_need_not_wait_for_is_not(what):
    with fake_device() as counted:
        FREE[what]()
    assert not counted.waits


@pytest.mark.parametrize('what', UNKNOWN)
def test_what_depends_on_data_is_refused(what):
    with (
        fake_device(),
        pytest.raises((DataDependentOutputException, DynamicOutputShapeException)),
    ):
        UNKNOWN[what]()


def test_what_an_operator_of_ours_waits_for_is_counted():
    """Torch knows the shape of its result, and would not look inside."""

    @torch.library.custom_op('mmfrcnn::asks_in_a_test', mutates_args=())
    def asks(x: torch.Tensor, copies: int) -> torch.Tensor:
        for _ in range(copies):
            x = x + torch.tensor([1.0, 2.0, 3.0], device=x.device)
        return x if copies else x[x > 0]

    asks.register_fake(lambda x, copies: torch.empty_like(x))
    with fake_device() as counted:
        for copies in (2, 0, 2):
            assert asks(ones(), copies).device == DEVICE
    assert counted.waits == {
        'mmfrcnn::asks_in_a_test: copy to the device': 4,
        'mmfrcnn::asks_in_a_test: aten.nonzero.default': 1,
    }
    assert counted.total == 3 * 2  # the operator is one


def test_tensors_that_do_not_live_together_are_refused():
    with fake_device(), pytest.raises(RuntimeError, match=r'[Dd]evice'):
        ones() + torch.ones(3)


def test_operators_of_the_device_are_counted():
    with fake_device() as counted:
        torch.ones(3).sum()
        assert counted.total == 0
        (ones() + 1).relu()
    assert counted.total == 3


def test_the_host_computes_and_the_device_keeps():
    """What lives on the device is there at the next use, too."""
    with fake_device():
        assert (torch.arange(3) + 1).tolist() == [1, 2, 3]
        weight = ones()
    with fake_device() as counted:
        assert (weight + ones()).device == DEVICE
    assert not counted.waits


@pytest.mark.parametrize('precision', [None, torch.float16, torch.bfloat16])
def test_precision_is_that_of_autocast(precision):
    layer = torch.nn.Linear(3, 2)
    with fake_device():
        layer.to(DEVICE)
    with fake_device(precision):
        assert layer(ones()).dtype == (precision or torch.float32)
    with fake_device():
        assert layer(ones()).dtype == torch.float32
