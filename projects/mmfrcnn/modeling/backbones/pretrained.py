"""Weights that networks start from: torchvision's by enum name, or from a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping

import torch
import torchvision
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from mmfrcnn.errors import UserError, did_you_mean


def pretrained_init(
    name: str, weights: str | None, init_cfg: dict | None
) -> dict | None:
    """Return the ``init_cfg`` of a torchvision network.

    Args:
        name (str): The network, as in ``torchvision.models.list_models()``.
        weights (str | None): Name of a set of its weights, such as ``IMAGENET1K_V1``:
            becomes their address, fetched when training starts and never before.
        init_cfg (dict | None): mmengine's, instead.

    Raises:
        UserError: If there is no such set, or both are given.
    """
    if weights is None:
        return init_cfg
    if init_cfg is not None:
        raise UserError(
            f'{name}: give weights={weights!r} (torchvision downloads them) or '
            'init_cfg (a file of yours), not both'
        )
    sets = torchvision.models.get_model_weights(name)
    known = [entry.name for entry in sets]
    if weights not in [*known, 'DEFAULT']:
        near = did_you_mean(weights, known)
        raise UserError(f'{name} has no weights {weights!r}, only {known}.{near}')
    return dict(type='Pretrained', checkpoint=sets[weights].url)


def check_pretrained(
    module: nn.Module,
    init_cfg: dict | list[dict] | None,
    name: str,
    key: str,
    translated: Callable[[Mapping], Mapping] = dict,
) -> dict[str, torch.Tensor] | None:
    """Refuse weights that are not a network's, which mmengine would only log.

    Args:
        module (nn.Module): What is about to be initialised.
        init_cfg (dict | list[dict] | None): Its initialisation.
        name (str): The network, for the message.
        key (str): Where the config has ``init_cfg``, for the message.
        translated (Callable): Gives a file's weights as the module loads them.

    Returns:
        dict[str, Tensor] | None: The weights that the module has a place for; None
        where it is initialised otherwise.

    Raises:
        UserError: If the file is missing, less than nine tenths of the module's
            tensors are in it by name and shape, or one of them is not finite.
    """
    if not isinstance(init_cfg, Mapping) or init_cfg.get('type') != 'Pretrained':
        return None
    path, prefix = init_cfg['checkpoint'], init_cfg.get('prefix')
    if '://' not in path and not os.path.isfile(path):
        raise UserError(
            f'{key}.checkpoint: no such file: {path}. '
            'Name a file of weights, or set init_cfg=None to begin from random ones'
        )
    loaded = CheckpointLoader.load_checkpoint(path, map_location='cpu')
    state = loaded.get('state_dict', loaded)
    start = f'{prefix.rstrip(".")}.' if prefix else ''
    inside = translated(
        {
            str(full).removeprefix(start): value
            for full, value in state.items()
            if str(full).startswith(start)
        }
    )
    ours = {own: value.shape for own, value in module.state_dict().items()}
    needed = [own for own in ours if not own.endswith('num_batches_tracked')]
    found = [
        own for own in needed if getattr(inside.get(own), 'shape', None) == ours[own]
    ]
    if len(found) < 0.9 * len(needed):
        raise UserError(
            f'{key}.checkpoint: {path} is not of {name}: '
            f'it has {len(found)} of {len(needed)} tensors by name and shape. '
            f'The file begins with {_first(state)}, the network with '
            f'{_first([start + own for own in ours])}'
        )
    for own in found:
        # torchvision has sets whose classifier was never trained: not numbers.
        if not inside[own].isfinite().all():
            raise UserError(f'{key}.checkpoint: {path}: {start}{own} is not finite')
    return {own: value for own, value in inside.items() if own in ours}


def _first(names: Iterable[str]) -> str:
    return ', '.join(repr(name) for name in list(names)[:3])
