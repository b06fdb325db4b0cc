"""A step on file: its batch, its weights and what else its loss is computed from.

All of it is tensors, numbers and texts, so that whoever is sent such a file can read it
without executing anything: the checkpoint reader's rules hold for it
(`mmfrcnn.compat.checkpoint`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import BaseBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmfrcnn.compat.config_text import stored_text
from mmfrcnn.errors import UserError
from mmfrcnn.files import written_whole
from mmfrcnn.weights.checkpoints import read_checkpoint

KEY = 'step'
"""Beside ``state_dict`` and ``meta``, as in a checkpoint."""

PRECISIONS = {'fp32': None, 'bf16': torch.bfloat16, 'fp16': torch.float16}
"""Names of what autocast multiplies in."""


@dataclass
class StepDump:
    """What a step is computed from, and what came of it.

    Attributes:
        iteration: Counted from 1.
        terms: The losses that were not finite; none, if only the gradient was not.
        exact: Whether the weights are those before the step, or some later ones.
        seed: torch's.
        draws: Samples drawn before by each balanced sampler.
        precision: One of `PRECISIONS`.
        rate: The learning rate.
        gradient_norm: Of the step.
        evaluating: Names of the modules that were in evaluation mode.
        frozen: Names of the weights that were not trained.
        trained_parts: Of alternating training; None of any other.
        torch: The version.
        inputs: Images (C, H, W), as from the data loader.
        samples: Of each image, what `plain_sample` makes of its data sample.
    """

    iteration: int
    terms: dict[str, float]
    exact: bool
    seed: int
    draws: list[int]
    precision: str
    rate: float | None
    gradient_norm: float | None
    evaluating: list[str]
    frozen: list[str]
    trained_parts: list[str] | None
    torch: str
    inputs: list[Tensor]
    samples: list[dict[str, Any]]

    def data_samples(self) -> list[DetDataSample]:
        """Return the data samples that were dumped."""
        return [_data_sample(one) for one in self.samples]


def mode_of(model: nn.Module) -> dict[str, Any]:
    """Return what a model is set to, by the names of `StepDump`."""
    parts = getattr(model, 'trained_parts', None)
    return dict(
        evaluating=[name for name, one in model.named_modules() if not one.training],
        frozen=[n for n, one in model.named_parameters() if not one.requires_grad],
        trained_parts=None if parts is None else list(parts),
    )


def write_dump(path: Path, step: StepDump, model: nn.Module, config: str) -> None:
    """Write a step.

    Args:
        path (Path): Where to.
        step (StepDump): The step.
        model (nn.Module): Its weights are those before the step.
        config (str): The config's text.

    Raises:
        OSError: If it cannot be written.
    """
    # The metadata of a state_dict counts draws, which `step` knows better.
    weights = {name: one.cpu() for name, one in model.state_dict().items()}
    contents = {
        'state_dict': weights,
        'meta': {'cfg': config, 'iter': step.iteration},
        KEY: {field.name: getattr(step, field.name) for field in fields(step)},
    }
    with written_whole(path) as stream:
        torch.save(contents, stream)


def read_dump(path: str) -> tuple[StepDump, dict[str, Tensor], str | None]:
    """Read a step; nothing in the file is executed.

    Returns:
        tuple: The step, the weights by name, the text of the config.

    Raises:
        UserError: If it is no dump, or asks for more than values.
    """
    loaded = read_checkpoint(path)
    stored = loaded.get(KEY)
    names = {field.name for field in fields(StepDump)}
    if not isinstance(stored, Mapping) or stored.keys() != names:
        raise UserError(
            f'{path} is no dump of a step: training writes such files as '
            'WORK_DIR/nan/iter_N.pth when a loss is not finite'
        )
    step = StepDump(**stored)
    wrong = [name for name, fits in CHECKS.items() if not fits(getattr(step, name))]
    if wrong:
        raise UserError(
            f'{path} is no dump that can be replayed: its {wrong[0]} is of another '
            'kind than training writes. Dump it again'
        )
    return step, loaded.get('state_dict', {}), stored_text(loaded)


def _is_list(kind: type) -> Any:
    return lambda value: (
        isinstance(value, list) and all(isinstance(one, kind) for one in value)
    )


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, float)


def _are_losses(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(one, float) for name, one in value.items()
    )


CHECKS = {
    'iteration': lambda value: isinstance(value, int),
    'terms': _are_losses,
    'exact': lambda value: isinstance(value, bool),
    'seed': lambda value: isinstance(value, int) and -(2**63) <= value < 2**64,
    'draws': _is_list(int),
    'precision': lambda value: value in tuple(PRECISIONS),
    'rate': _is_number,
    'gradient_norm': _is_number,
    'evaluating': _is_list(str),
    'frozen': _is_list(str),
    'trained_parts': lambda value: value is None or _is_list(str)(value),
    'torch': lambda value: isinstance(value, str),
    'inputs': _is_list(Tensor),
    'samples': _is_list(dict),
}
"""Whether a value fits the attribute of a step."""


FIELDS = ('gt_instances', 'ignored_instances', 'proposals')
"""Of a data sample, what a loss is computed from."""


def plain_sample(sample: DetDataSample) -> dict[str, Any]:
    """Return a data sample as tensors, numbers, texts and containers."""
    instances = {
        name: {key: _plain(one) for key, one in sample.get(name).items()}
        for name in FIELDS
        if name in sample
    }
    return dict(metainfo=_plain(sample.metainfo), instances=instances)


def _plain(value: Any) -> Any:
    """Return a value as it may stand in a file; of other kinds, None."""
    match value:
        case Tensor():
            return value.detach().cpu().clone()  # not all that it is a view of
        case np.ndarray():
            return torch.from_numpy(np.ascontiguousarray(value))
        case np.generic():
            return value.item()
        case BaseBoxes():
            return _plain(value.tensor)
        case BitmapMasks() | PolygonMasks():
            size = dict(height=value.height, width=value.width)
            return dict(masks=_plain(value.masks), **size)
        case dict():
            return {str(name): _plain(one) for name, one in value.items()}
        case list() | tuple():
            return type(value)([_plain(one) for one in value])
        case None | bool() | int() | float() | str():
            return value
        case _:
            return None


def _data_sample(stored: dict[str, Any]) -> DetDataSample:
    """Return the data sample of which `plain_sample` made a dict."""
    sample = DetDataSample(metainfo=stored['metainfo'])
    for name in FIELDS:
        if name in stored['instances']:
            values = {k: _masks(v) for k, v in stored['instances'][name].items()}
            setattr(sample, name, InstanceData(**values))
    return sample


def _masks(value: Any) -> Any:
    """Return masks of what they are made of, and anything else as it is."""
    if not isinstance(value, dict):
        return value
    masks, size = value['masks'], (value['height'], value['width'])
    if isinstance(masks, Tensor):
        return BitmapMasks(masks.numpy(), *size)
    return PolygonMasks([[part.numpy() for part in one] for one in masks], *size)
