"""``tools/replay.py``: compute a dumped step again."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from mmfrcnn.cli.config import load_config
from mmfrcnn.cli.runtime import choose_device
from mmfrcnn.compat.config_text import config_of_text
from mmfrcnn.compat.model_size import no_larger_than
from mmfrcnn.data.class_names import resolve_classes
from mmfrcnn.errors import UserError, summary_of
from mmfrcnn.training.not_finite.boxes import describe_boxes
from mmfrcnn.training.not_finite.dump import StepDump, read_dump
from mmfrcnn.training.not_finite.replay import Replayed, replay
from mmfrcnn.weights.fitting import check_weights

REMEDY = 'Name the config it was trained with: --config CONFIG'


def run(args: argparse.Namespace) -> int:
    """Replay a step, print what came of it; 0 if it is not finite again, else 1."""
    step, weights, text = read_dump(args.dump)
    device = choose_device(args.device)
    model = _build(args, weights, text).to(device)
    check_weights(model, weights, args.dump)
    model.load_state_dict(weights)
    try:
        replayed = replay(model, step)
        boxes = describe_boxes(step.data_samples())
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # nobody has checked that the batch is one
        reason = summary_of(error)
        raise UserError(
            f'{args.dump}: the batch in it cannot be computed again ({reason})'
        ) from error
    for line in (*_about(args.dump, step), *_came_of(replayed), f'Boxes: {boxes}.'):
        print(_printable(line))
    print('Reproduced: it is not finite again.' if replayed.reproduced else _not(step))
    return 0 if replayed.reproduced else 1


def _build(args: argparse.Namespace, weights: dict, text: str | None) -> nn.Module:
    """Build the model: of the user's config, or of the values in the dump."""
    if args.config:
        config = load_config(args.config)
        resolve_classes(config, print)
        return _model(config.model)
    if text is None:
        raise UserError(f'{args.dump} holds no config. {REMEDY}')
    name = f'{args.dump}: the config inside'
    model = config_of_text(text, name, REMEDY, training=True)['model']
    try:
        with no_larger_than(weights, args.dump):
            return _model(Config(dict(model=model)).model)
    except UserError:
        raise
    except Exception as error:  # nobody has checked the arguments
        reason = summary_of(error)
        raise UserError(
            f'{name} describes no model that can be built ({reason}). {REMEDY}'
        ) from error


def _model(config: Any) -> nn.Module:
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(config)


def _about(path: str, step: StepDump) -> Iterator[str]:
    rate = '' if step.rate is None else f', learning rate {step.rate:.3g}'
    terms = ', '.join(f'{name} was {value}' for name, value in step.terms.items())
    yield (
        f'{path}: iteration {step.iteration}, {len(step.inputs)} images, '
        f'{step.precision}, torch {step.torch}{rate}; '
        f'{terms or "the losses were finite, and their gradient was not"}.'
    )
    if not step.exact:
        yield 'Its weights are of some steps later: training went on.'


def _came_of(replayed: Replayed) -> Iterator[str]:
    width = max(map(len, [*replayed.losses, 'norm of the gradient']))
    figures = {**replayed.losses, 'norm of the gradient': replayed.gradient_norm}
    for name, value in figures.items():
        mark = '' if math.isfinite(value) else '   not finite'
        yield f'  {name:<{width}}  {value:.6g}{mark}'
    if replayed.found is None:
        yield 'The output of every module is finite.'
        return
    yield f'The first output that is not finite is that of {replayed.found.module}:'
    for numbers in replayed.found.numbers:
        yield f'  {numbers}'


def _not(step: StepDump) -> str:
    why = '' if step.exact else ' The weights are not those of the step.'
    return f'Not reproduced: here it is finite.{why}'


def _printable(text: str) -> str:
    """Return a text without what a terminal would obey: it may be of any file."""
    return ''.join(one if one.isprintable() else '?' for one in text)
