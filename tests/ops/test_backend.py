"""Which implementation of an op runs, and that a broken kernel never does."""

from __future__ import annotations

import logging

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from mmfrcnn.ops import backend
from mmfrcnn.ops.backend import backend_of, using


@pytest.fixture
def on_card():
    """Return a tensor that says it is on a card, where there is none."""
    backend._agrees.cache_clear()
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield torch.empty(1, device='cuda:0')
    backend._agrees.cache_clear()


def fails(device):
    raise RuntimeError('no driver for this card\nand a long story')


def test_a_processor_has_its_own():
    assert backend_of(torch.zeros(1), self_check=fails) == 'cpu'


def test_a_kernel_that_agrees_runs_and_is_looked_at_once(on_card):
    looked = []
    for _ in range(3):
        assert backend_of(on_card, self_check=looked.append) == 'cuda'
    assert looked == [torch.device('cuda', 0)]


def test_a_kernel_that_fails_is_named_once_and_replaced(on_card, caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert backend_of(on_card, self_check=fails) == 'reference'
    (message,) = caplog.messages
    assert message.endswith('cuda:0: RuntimeError: no driver for this card')
    assert 'plain operators' in message


def test_the_environment_forbids_kernels(on_card, monkeypatch):
    monkeypatch.setenv(backend.SWITCH, 'reference')
    assert backend_of(on_card, self_check=lambda device: None) == 'reference'


def test_an_op_without_a_kernel(on_card):
    assert backend_of(on_card) == 'reference'


def test_one_implementation_wherever_tensors_live():
    with using('cuda'):
        assert backend_of(torch.zeros(1)) == 'cuda'
        with using('reference'):
            assert backend_of(torch.zeros(1)) == 'reference'
        assert backend_of(torch.zeros(1)) == 'cuda'
    assert backend_of(torch.zeros(1)) == 'cpu'
