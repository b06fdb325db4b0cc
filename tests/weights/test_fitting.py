"""Whether a checkpoint fits: kinds of weights, optimizers, class names."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from mmfrcnn.errors import UserError
from mmfrcnn.weights import fitting
from mmfrcnn.weights.fitting import (
    check_classes,
    check_first_weights,
    check_optimizer,
    check_weights,
    stored_classes,
)


def quantised() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # torch moves them to another package
        return torch.quantize_per_tensor(torch.ones(3, 2), 0.1, 0, torch.qint8)


KINDS = {
    'ndarray': (lambda: np.ones((3, 2), np.float32), 'ndarray, not a tensor'),
    'sparse': (lambda: torch.ones(3, 2).to_sparse(), 'sparse'),
    'csr': (lambda: torch.ones(3, 2).to_sparse_csr(), 'sparse'),
    'quantised': (quantised, 'quantised'),
    'meta': (lambda: torch.ones(3, 2, device='meta'), 'without values'),
    'complex': (lambda: torch.ones(3, 2, dtype=torch.complex64), 'torch.complex64'),
    'integers': (lambda: torch.ones(3, 2, dtype=torch.int8), 'torch.int8'),
    'none': (lambda: None, 'NoneType, not a tensor'),
}


@pytest.mark.parametrize('check', [check_weights, check_first_weights])
@pytest.mark.parametrize('kind', KINDS)
def test_weights_that_would_not_be_loaded_are_refused(check, kind):
    make, words = KINDS[kind]
    weights = {'weight': make(), 'bias': torch.zeros(3)}
    with pytest.raises(UserError, match='weight is') as refused:
        check(nn.Linear(2, 3), weights, 'x.pth')
    assert words in str(refused.value) and 'x.pth' in str(refused.value)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precision_are_loaded(dtype):
    model = nn.Linear(2, 3)
    check_weights(model, {k: v.to(dtype) for k, v in model.state_dict().items()}, 'x')


def test_a_training_may_start_from_part_of_the_weights():
    model = nn.Linear(2, 3)
    check_first_weights(model, {'module.weight': torch.ones(7, 7)}, 'x.pth')
    with pytest.raises(UserError, match=r'x\.pth holds no weight of the model'):
        check_first_weights(model, {'other': torch.ones(1)}, 'x.pth')


@pytest.fixture
def said(monkeypatch):
    lines: list[str] = []
    monkeypatch.setattr(fitting, 'print_log', lambda text, **_: lines.append(text))
    return lines


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_weights_that_are_no_numbers_are_said(value, said):
    model = nn.Linear(2, 3)
    check_weights(model, model.state_dict(), 'x.pth')
    assert said == []
    weights = {**model.state_dict(), 'bias': torch.tensor([0, value, 0])}
    check_weights(model, weights, 'x.pth')
    assert len(said) == 1
    assert 'x.pth: 1 of 2 weights hold NaN or infinity (bias)' in said[0]


def stepped(kind, model, **options):
    optimizer = kind(model.parameters(), lr=0.1, **options)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return optimizer


OPTIMIZERS = [
    torch.optim.ASGD,
    torch.optim.Adadelta,
    torch.optim.Adagrad,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.Adamax,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.RMSprop,
    torch.optim.Rprop,
    torch.optim.SGD,
]


@pytest.mark.parametrize('kind', OPTIMIZERS)
def test_optimizers_that_do_not_fit_are_refused(kind):
    options = {'momentum': 0.9} if kind is torch.optim.SGD else {}
    state = stepped(kind, nn.Linear(2, 3), **options).state_dict()
    check_optimizer(stepped(kind, nn.Linear(2, 3), **options), state, 'x.pth')
    others = {
        r'is of another model: \w+ of weight 0 is \(3, 2\), not \(4, 2\)': stepped(
            kind, nn.Linear(2, 4), **options
        ),
        'another model, 2 weights in 1 groups where there are 1 in 1': stepped(
            kind, nn.Linear(2, 3, bias=False), **options
        ),
    }
    for words, optimizer in others.items():
        with pytest.raises(UserError, match=words):
            check_optimizer(optimizer, state, 'x.pth')
    other = torch.optim.SGD if kind is not torch.optim.SGD else torch.optim.Adam
    with pytest.raises(UserError, match=f'is no {other.__name__}: it has no'):
        check_optimizer(stepped(other, nn.Linear(2, 3)), state, 'x.pth')


@pytest.mark.parametrize('state', [{}, {'param_groups': 3, 'state': {}}])
def test_an_optimizer_without_state_is_refused(state):
    optimizer = stepped(torch.optim.SGD, nn.Linear(2, 3))
    with pytest.raises(UserError, match='no state that can be resumed'):
        check_optimizer(optimizer, state, 'x.pth')


@pytest.mark.parametrize(
    'meta',
    [
        {'dataset_meta': {'classes': ['cat', 'dog']}},
        {'dataset_meta': {'CLASSES': ('cat', 'dog')}},
        {'CLASSES': ('cat', 'dog')},
        {'dataset_meta': None, 'CLASSES': ('cat', 'dog')},
    ],
)
def test_class_names_are_compared(meta, said):
    checkpoint = {'meta': meta}
    assert stored_classes(checkpoint) == ('cat', 'dog')
    check_classes(checkpoint, ['cat', 'dog'], 'x.pth')
    check_classes(checkpoint, None, 'x.pth')
    check_classes(checkpoint, ('cat', 'dog', 'emu'), 'x.pth')  # another head, too
    assert said == []
    check_classes(checkpoint, ('cat', 'emu'), 'x.pth')
    assert len(said) == 1 and 'emu for dog' in said[0] and 'cat' not in said[0]
    with pytest.raises(UserError, match='cat, dog; the data set has dog, cat') as no:
        check_classes(checkpoint, ('dog', 'cat'), 'x.pth')
    assert "metainfo=dict(classes=('cat', 'dog'))" in str(no.value)
