"""Weights that mmengine would pass over with a line in the log, while a model goes on.

Its loading is not strict, and rightly so: a training may start from a part of the
weights, or with heads of other shapes. What can never be meant ends here, on every way
in (`init_detector`, `DetInferencer`, `load_from`, `resume`, pretrained parts): a weight
that has the name of one of the model's and cannot be copied into it, and a file that
leaves the whole model as it was.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from mmfrcnn.errors import UserError, first_of


def install() -> None:
    """Have mmengine's ``load_state_dict`` raise where it would load nothing."""
    if not hasattr(checkpoint.load_state_dict, '__wrapped__'):
        checkpoint.load_state_dict = _or_raise(checkpoint.load_state_dict)


def unloadable(value: Any, own: Tensor) -> str:
    """Say what keeps a value from being copied into a weight as it is, or ''."""
    if not isinstance(value, Tensor):
        return f'{type(value).__name__}, not a tensor'
    if value.is_nested or value.layout != torch.strided:
        return f'{"nested" if value.is_nested else "sparse"}, in the model dense'
    if value.is_quantized:
        return 'quantised, in the model not'
    if value.is_meta:
        return 'without values (on the device meta)'
    kinds = [(t.is_floating_point(), t.is_complex()) for t in (value, own)]
    if kinds[0] != kinds[1]:
        return f'{value.dtype}, in the model {own.dtype}'
    return ''


def check_loadable(
    own: Mapping[str, Tensor], given: Mapping[str, Any], source: str
) -> None:
    """Check that what has the name of a model's weight can be copied into it.

    Args:
        own (Mapping[str, Tensor]): The model's weights.
        given (Mapping[str, Any]): Those to be loaded.
        source (str): Where they are from, for the message.

    Raises:
        UserError: If one cannot.
    """
    common = own.keys() & given.keys()
    faults = {name: unloadable(given[name], own[name]) for name in common}
    wrong = [f'{name} is {fault}' for name, fault in faults.items() if fault]
    if wrong:
        raise UserError(
            f'{source}: {len(wrong)} weights cannot be loaded '
            f"({first_of(sorted(wrong))}). Save them as the model's state_dict()"
        )


def _or_raise(load: Callable[..., None]) -> Callable[..., None]:
    """Wrap ``load_state_dict``."""

    @functools.wraps(load)
    def load_state_dict(
        module: nn.Module, state_dict: Mapping[str, Any], *options: Any, **named: Any
    ) -> None:
        own = _weights(module)
        check_loadable(own, state_dict, _source())
        # A weight's version counts how often it was written to. Names would not tell:
        # some of mmdet's models load weights of other names.
        before = {name: value._version for name, value in own.items()}
        load(module, state_dict, *options, **named)
        if own and all(own[name]._version == v for name, v in before.items()):
            raise UserError(
                f'{_source()}: no weight fits the model. It has '
                f'{first_of(sorted(state_dict)) or "none"}, the model '
                f'{first_of(sorted(own))}. Use the config it was trained with'
            )

    return load_state_dict


def _weights(module: nn.Module) -> dict[str, Tensor]:
    """Return the weights that a file may be asked for, by the name there."""
    inner: Any = module
    while is_model_wrapper(inner) or isinstance(inner, BaseTTAModel):
        inner = inner.module
    return {
        name: value
        for name, value in inner.state_dict(keep_vars=True).items()
        # Batch norm writes the count of its batches itself where there is none.
        if isinstance(value, Tensor) and 'num_batches_tracked' not in name
    }


def _source() -> str:
    """Name the file: mmengine hands on the weights without it, right after reading."""
    path = getattr(CheckpointLoader, 'last_read', None)
    return f'{path}, the checkpoint read last' if path else 'a checkpoint'
