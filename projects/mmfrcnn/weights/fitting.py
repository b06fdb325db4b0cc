"""Whether a checkpoint fits: its weights, optimizer and class names against a run's.

mmengine loads what fits and passes over the rest with a line in the log, so that a
model may go on with random weights. Here what is not loaded as it is ends the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.optim import Optimizer

from mmfrcnn.compat.checkpoint_parts import LOG
from mmfrcnn.compat.checkpoint_weights import check_loadable, unloadable
from mmfrcnn.errors import UserError, first_of, shown

ELEMENTWISE = (
    'ax',
    'momentum_buffer',
    'exp_avg',
    'exp_avg_sq',
    'max_exp_avg_sq',
    'exp_inf',
    'square_avg',
    'sum',
    'acc_delta',
    'grad_avg',
    'prev',
    'step_size',
)
"""State of torch's optimizers with the shape of the weight that it belongs to."""


def check_weights(model: nn.Module, weights: Mapping[str, Any], path: str) -> None:
    """Check that a checkpoint's weights are a model's: names, kinds and shapes.

    Weights that are no finite numbers are said in a warning and not refused: the
    statistics of a norm that no image ever reached may be such and do no harm.

    Args:
        model (nn.Module): The model of the config.
        weights (Mapping[str, Any]): The checkpoint's ``state_dict``.
        path (str): The checkpoint, for the message.

    Raises:
        UserError: If the model would keep random weights, or have others left over.
    """
    own = model.state_dict()
    wrong = [f'{name} is missing' for name in own.keys() - weights.keys()]
    wrong += [f'{name} is not in the model' for name in weights.keys() - own.keys()]
    for name in own.keys() & weights.keys():
        fault = unloadable(weights[name], own[name])
        if not fault and weights[name].shape != own[name].shape:
            found, expected = tuple(weights[name].shape), tuple(own[name].shape)
            fault = f'{found}, in the model {expected}'
        if fault:
            wrong.append(f'{name} is {fault}')
    if wrong:
        raise UserError(
            f'{path} is not of the model in this config: {len(wrong)} weights differ '
            f'({first_of(sorted(wrong))}). Use the config it was trained with'
        )
    _say_not_finite(weights, path)


def check_first_weights(
    model: nn.Module, weights: Mapping[str, Any], path: str
) -> None:
    """Check the weights that a training starts from (``load_from``).

    The model may have more, and heads of other shapes: those start at random, and the
    log names them.

    Raises:
        UserError: If none is the model's, or one that is cannot be loaded.
    """
    own = model.state_dict()
    # mmengine takes the prefix of a wrapped model off.
    given = {name.removeprefix('module.'): value for name, value in weights.items()}
    common = own.keys() & given.keys()
    if not common:
        raise UserError(
            f'{path} holds no weight of the model in this config: it has '
            f'{first_of(sorted(given)) or "none"}, the model {first_of(sorted(own))}'
        )
    check_loadable(own, given, path)
    _say_not_finite({name: given[name] for name in common}, path)


def _say_not_finite(weights: Mapping[str, Tensor], path: str) -> None:
    names = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if names:
        print_log(
            f'{path}: {len(names)} of {len(weights)} weights hold NaN or infinity '
            f'({first_of(sorted(names))}): detections will be wrong or none',
            logger='current',
            level=30,
        )


def check_state(checkpoint: Mapping[str, Any], path: str) -> None:
    """Check that a checkpoint has what a training goes on from.

    Raises:
        UserError: If it has weights only.
    """
    has_parts = all(map(checkpoint.get, ('state_dict', 'optimizer')))
    counts, log = (checkpoint.get(key) or {} for key in ('meta', 'message_hub'))
    if not (has_parts and {'epoch', 'iter'} <= {*counts} and {*LOG} <= {*log}):
        raise UserError(
            f'{path} holds weights only, no state of training, so it cannot be '
            'resumed. To start from its weights: --cfg-options load_from=PATH'
        )


def check_optimizer(optimizer: Optimizer, state: Mapping[str, Any], path: str) -> None:
    """Check that the state of an optimizer is of this kind and of these weights.

    Raises:
        UserError: If loading it would fail, now or at the first step.
    """
    own = optimizer.param_groups
    groups = state.get('param_groups')
    if not _are_groups(groups) or not _are_states(state.get('state')):
        raise UserError(f'{path}: its optimizer has no state that can be resumed')
    sizes = [[len(group['params']) for group in one] for one in (groups, own)]
    remedy = 'Resume with the config it was trained with, or use load_from'
    if sizes[0] != sizes[1]:
        raise UserError(
            f'{path}: its optimizer is of another model, {sum(sizes[0])} weights in '
            f'{len(groups)} groups where there are {sum(sizes[1])} in {len(own)}. '
            f'{remedy}'
        )
    # Flags come and go with versions of torch; numbers tell the kind of optimizer.
    numbers = {key for key, v in optimizer.defaults.items() if not _is_flag(v)}
    missing = sorted(key for key in numbers for group in groups if key not in group)
    if missing:
        raise UserError(
            f'{path}: its optimizer is no {type(optimizer).__name__}: it has no '
            f'{missing[0]}. {remedy}'
        )
    for key, value in ((key, group[key]) for key in numbers for group in groups):
        # Numbers, pairs of them, a rate as a tensor.
        if isinstance(value, str | Mapping | None):
            raise UserError(
                f'{path}: {key} of its optimizer is {shown(value)}. {remedy}'
            )
    indices = [index for group in groups for index in group['params']]
    weights = [weight for group in own for weight in group['params']]
    for index, weight in zip(indices, weights, strict=True):
        kept = state['state'].get(index, {})
        for name in ELEMENTWISE:
            value = kept.get(name)
            shape = getattr(value, 'shape', None)
            if value is not None and shape != weight.shape:
                found = type(value).__name__ if shape is None else tuple(shape)
                raise UserError(
                    f'{path}: its optimizer is of another model: {name} of weight '
                    f'{index} is {found}, not {tuple(weight.shape)}. {remedy}'
                )


def _are_groups(groups: Any) -> bool:
    return isinstance(groups, list) and all(
        isinstance(group, Mapping)
        and isinstance(group.get('params'), list)
        and all(isinstance(index, int) for index in group['params'])
        for group in groups
    )


def _are_states(states: Any) -> bool:
    return isinstance(states, Mapping) and all(
        isinstance(one, Mapping) for one in states.values()
    )


def _is_flag(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def stored_classes(checkpoint: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the class names in a checkpoint of mmdet 3 or 2, or None.

    Example:
        >>> stored_classes({'meta': {'CLASSES': ('cat', 'dog')}})
        ('cat', 'dog')
    """
    meta = checkpoint.get('meta') or {}
    stored = meta.get('dataset_meta') or {}
    found = stored.get('classes') or stored.get('CLASSES') or meta.get('CLASSES')
    return tuple(found) if found else None


def check_classes(
    checkpoint: Mapping[str, Any], classes: Sequence[str] | None, path: str
) -> None:
    """Compare the class names of a checkpoint with those of the data.

    Other names of the same number are said, as the model may be meant for them; of
    another number, the heads differ.

    Raises:
        UserError: If they are the same in another order, by which every label would
            mean another class.
    """
    stored, own = stored_classes(checkpoint), tuple(classes or ())
    if not stored or stored == own or len(stored) != len(own):
        return
    if sorted(stored) == sorted(own):
        raise UserError(
            f'{path} was trained with the classes in another order: '
            f'{", ".join(stored)}; the data set has {", ".join(own)}. Give the data '
            f"sets the checkpoint's order: metainfo=dict(classes={stored!r}), and for "
            'COCO the categories of the file in that order'
        )
    pairs = [f'{a} for {b}' for a, b in zip(own, stored, strict=True) if a != b]
    print_log(
        f'{path} was trained with other class names: the data set has '
        f'{", ".join(pairs[:5])}{", ..." if len(pairs) > 5 else ""}',
        logger='current',
        level=30,
    )
