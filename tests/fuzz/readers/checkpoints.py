"""Files of weights: what a training, a test and a detector do with one."""

from __future__ import annotations

import copy
import io
import json
import math
import struct
import zipfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import load_checkpoint
from safetensors.torch import save
from torch import nn

from mmfrcnn.weights.checkpoints import read_checkpoint
from mmfrcnn.weights.fitting import (
    check_classes,
    check_first_weights,
    check_optimizer,
    check_state,
    check_weights,
)
from tests.fuzz.reader import NoOpinionError, Reader
from tests.fuzz.texts import changed_bytes, put
from tests.fuzz.trees import changed


@cache
def _model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


@cache
def _valid() -> dict[str, Any]:
    model = copy.deepcopy(_model())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    return {
        'meta': {
            **{'epoch': 1, 'iter': 10, 'seed': 0, 'cfg': 'x = 1', 'mmengine': '0.10'},
            'dataset_meta': {'classes': ('cat', 'dog'), 'palette': [(1, 2, 3)]},
        },
        'state_dict': dict(model.state_dict()),
        'message_hub': {
            'log_scalars': {'train/loss': buffer},
            'runtime_info': {'iter': 10, 'cfg': 'x = 1', 'best_ckpt': 'best_x.pth'},
            'resumed_keys': {'train/loss': True},
        },
        'optimizer': optimizer.state_dict(),
        'param_schedulers': [{'last_step': 3, 'base_values': [0.1]}],
    }


def _tensors(rng: Random) -> Any:
    with np.errstate(all='ignore'):
        return rng.choice(
            [
                *(torch.tensor(1.0), torch.zeros(0), torch.full((4,), torch.nan)),
                *(
                    torch.zeros(4, dtype=torch.int64),
                    torch.zeros(4, dtype=torch.complex64),
                ),
                *(
                    torch.zeros(4, device='meta'),
                    torch.eye(4).to_sparse(),
                    torch.zeros(2, 4),
                ),
                *(torch.zeros(4, dtype=torch.bool), torch.zeros(1).expand(1000, 1000)),
                *(nn.Parameter(torch.zeros(4)), torch.zeros(4, dtype=torch.bfloat16)),
                *(
                    np.float64(2.5),
                    HistoryBuffer([1.0], [1]),
                    torch.float32,
                    torch.Size([1]),
                ),
                *({1, 2}, b'bytes', 1 + 2j, range(3), slice(1), torch.zeros(4).half()),
                torch.quantize_per_tensor(torch.zeros(4), 0.1, 0, torch.quint8),
            ]
        )


def write(rng: Random, folder: Path) -> bool:
    """Write a checkpoint with changed parts, a changed pickle or changed bytes."""
    kind = rng.random()
    path = folder / 'c.pth'
    if kind < 0.02:
        put(rng, path, _saved(_valid()), is_whole=True)
        return True
    if kind < 0.6:
        tree = changed(rng, copy.deepcopy(_valid()), rng.choice([1, 1, 2, 3]))
        if isinstance(tree, dict) and rng.random() < 0.4:
            part = rng.choice(
                [one for one in tree.values() if isinstance(one, dict)] or [tree]
            )
            part[rng.choice(sorted(map(str, part)) or ['x'])] = _tensors(rng)
        try:
            content = _saved(tree)
        except (RecursionError, RuntimeError, NotImplementedError, AttributeError):
            content = b''
    elif kind < 0.8:
        content = _with_changed_member(rng, _saved(_valid()))
    elif kind < 0.9:
        content = changed_bytes(rng, _saved(_valid()), rng.choice([1, 2]))
    else:
        content = changed_bytes(rng, _saved(_valid(), old=True), rng.choice([1, 2]))
    put(rng, path, content)
    return False


@cache
def _saved_valid(old: bool) -> bytes:
    stream = io.BytesIO()
    torch.save(_valid(), stream, _use_new_zipfile_serialization=not old)
    return stream.getvalue()


def _saved(tree: Any, old: bool = False) -> bytes:
    if tree is _valid():
        return _saved_valid(old)
    stream = io.BytesIO()
    torch.save(tree, stream)
    return stream.getvalue()


def _with_changed_member(rng: Random, content: bytes) -> bytes:
    """Change a part of the archive, whose checksum is made anew."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(stream, 'w') as new,
    ):
        names = old.namelist()
        pickled = next(name for name in names if name.endswith('data.pkl'))
        target = pickled if rng.random() < 0.9 else rng.choice(names)
        for name in names:
            part = old.read(name)
            new.writestr(name, changed_bytes(rng, part) if name == target else part)
    return stream.getvalue()


def read(folder: Path) -> Any:
    """Check and load it, as a start, a resumed training or a test would."""
    path = str(folder / 'c.pth')
    loaded = read_checkpoint(path)
    model = copy.deepcopy(_model())
    weights = loaded.get('state_dict', loaded)
    check_first_weights(model, weights, path)
    check_classes(loaded, ('cat', 'dog'), path)
    load_checkpoint(model, path, 'cpu', logger='silent')
    if loaded.get('optimizer') and loaded.get('message_hub'):
        check_state(loaded, path)
        check_weights(model, weights, path)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        check_optimizer(optimizer, loaded['optimizer'], path)
        optimizer.load_state_dict(loaded['optimizer'])
        MessageHub(f'fuzz{id(model)}').load_state_dict(loaded['message_hub'])
    return {
        name.removeprefix('module.'): [*value.shape, *value.double().ravel().tolist()]
        for name, value in weights.items()
        if name in model.state_dict() and torch.isfinite(value).all()
    }


def reference(folder: Path) -> Any:
    """Load it by torch alone."""
    try:
        loaded = torch.load(folder / 'c.pth', weights_only=True)
    except Exception:
        raise NoOpinionError from None
    weights = loaded.get('state_dict', loaded)
    return {
        name: [*value.shape, *value.double().ravel().tolist()]
        for name, value in weights.items()
        if name in _model().state_dict()
        and not math.isnan(float(value.double().sum() * 0))
    }


# -- safetensors


@cache
def _tensors_only() -> bytes:
    return save({name: value.clone() for name, value in _model().state_dict().items()})


def write_safetensors(rng: Random, folder: Path) -> bool:
    """Write a file whose header, or bytes, are changed."""
    content = _tensors_only()
    kind = rng.random()
    if kind < 0.6:
        (length,) = struct.unpack('<Q', content[:8])
        head = json.dumps(changed(rng, json.loads(content[8 : 8 + length]))).encode()
        content = struct.pack('<Q', len(head)) + head + content[8 + length :]
    elif kind < 0.97:
        content = changed_bytes(rng, content, rng.choice([1, 2]))
    put(rng, folder / 'c.safetensors', content, kind >= 0.97)
    return kind >= 0.97


def read_safetensors(folder: Path) -> Any:
    """Load it into a model."""
    path = str(folder / 'c.safetensors')
    loaded = read_checkpoint(path)
    model = copy.deepcopy(_model())
    check_first_weights(model, loaded['state_dict'], path)
    load_checkpoint(model, path, 'cpu', logger='silent')


def nothing(folder: Path) -> Any:
    """Have no reference."""
    raise NoOpinionError


def prepare(folder: Path) -> None:
    """Need nothing beside the file."""


READERS = [
    Reader('checkpoint', prepare, write, read, reference, 1),
    Reader('safetensors', prepare, write_safetensors, read_safetensors, nothing, 1),
]
