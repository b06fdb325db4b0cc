"""``tools/anchors.py``: whether anchors fit the training boxes, and which would.

What fits is said by recall: the share of objects that have an anchor of some IoU.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmdet.models.task_modules import AnchorGenerator
from mmdet.registry import TASK_UTILS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmfrcnn.cli.anchor_fit.coverage import Coverage, anchor_iou, cover
from mmfrcnn.cli.anchor_fit.fed import fed_objects
from mmfrcnn.cli.anchor_fit.levels import fewest, possible_levels, strides_of
from mmfrcnn.cli.anchor_fit.objects import Objects, spread
from mmfrcnn.cli.anchor_fit.page import about_strides, remarks, table
from mmfrcnn.cli.anchor_fit.search import ENOUGH, Anchors, choose
from mmfrcnn.cli.checking.registered import check_registered
from mmfrcnn.cli.config import load_config
from mmfrcnn.data.class_names import resolve_classes
from mmfrcnn.errors import UserError

LOOKED_AT = 10_000
"""Objects that other anchors are tried on, at most, so that memory is bounded."""
REPORTED = (0.5, 0.6, 0.7)
DECISIVE = (0.5, 0.6)
"""IoUs of which other anchors must reach more objects at one, to be proposed."""


def run(args: argparse.Namespace) -> None:
    """Report and propose as the command line says."""
    for name, number in (('--images', args.images), ('--per-cell', args.per_cell)):
        if number is not None and number < 1:
            raise UserError(f'{name} must be at least 1, not {number}')
    config = load_config(args.config, args.cfg_options)
    init_default_scope(config.get('default_scope', 'mmdet'))
    check_registered(config)
    train_cfg = _train_cfg(config, args.config)
    generator = _generator(config, args.config)
    resolve_classes(config)
    objects, read = fed_objects(config, args.config, args.images, args.seed)
    print(f'{len(objects.boxes)} objects in {read}')
    thresholds = _thresholds(train_cfg['assigner'])

    def covered(generator: AnchorGenerator) -> Coverage:
        found = cover(objects, generator, train_cfg)
        print(table(objects, found, generator.strides, thresholds))
        return found

    present = Anchors.of(generator)
    print(f'\nThe config has {present}, strides {about_strides(generator.strides)}:')
    before = covered(generator)
    print('\n'.join(remarks(objects, before, generator.strides)))

    per_cell = args.per_cell or present.number
    some = objects.part(spread(len(objects.boxes), LOOKED_AT))
    changes, chosen = _chosen(some, config.model, generator, thresholds, per_cell)
    best = TASK_UTILS.build({**config.model.rpn_head.anchor_generator, **changes})
    levels = '' if 'strides' not in changes else f', on {best.num_levels} levels'
    print(f'\nThe best found under a bound of {per_cell} is {chosen}{levels}:')
    after = covered(best)
    better = any(after.recall(one) > before.recall(one) + ENOUGH for one in DECISIVE)
    if better or present.number > per_cell:
        _propose(changes, before, after, thresholds)
    else:
        bounds = ' and '.join(f'{one:g}' for one in DECISIVE)
        print(
            f'The present anchors are as good, within {ENOUGH:.1%} of the objects at '
            f'IoU {bounds}: nothing to change.'
        )


def _train_cfg(config: Config, path: str) -> Any:
    """Return by which rules the RPN of a config is trained."""
    if not isinstance(config.model.get('rpn_head'), dict):
        raise UserError(
            f'{path}: model has no rpn_head, so there are no anchors to look at. Name '
            'a config of Faster R-CNN or of an RPN'
        )
    rules = (config.model.get('train_cfg') or {}).get('rpn') or {}
    for name in ('assigner', 'sampler'):
        if name not in rules:
            raise UserError(
                f'{path}: model.train_cfg.rpn has no {name}, so nothing says which '
                'anchors an object is trained on. Add it, as configs/_base_/models do'
            )
    return rules


def _generator(config: Config, path: str) -> AnchorGenerator:
    """Build the anchor generator of a config, or say why it has none to look at."""
    key = f'{path}: model.rpn_head.anchor_generator'
    settings = config.model.rpn_head.get('anchor_generator') or {}
    scaled = {'scales', 'octave_base_scale'} & {k for k, v in settings.items() if v}
    if not (scaled and settings.get('ratios') and settings.get('strides')):
        raise UserError(
            f'{key} is not one of scales (or octaves), ratios and strides; only for '
            "type='AnchorGenerator' anchors can be looked at and proposed"
        )
    try:
        generator = TASK_UTILS.build(settings)
    except (AssertionError, TypeError, ValueError) as error:
        raise UserError(f'{key} cannot be built: {error}. Correct it') from error
    if not isinstance(generator, AnchorGenerator):
        raise UserError(
            f"{key} is a {type(generator).__name__}; give it type='AnchorGenerator'"
        )
    sides = torch.cat([base[:, 2:] - base[:, :2] for base in generator.base_anchors])
    steps = torch.tensor(generator.strides)
    if not (sides.isfinite().all() and (sides > 0).all() and (steps > 0).all()):
        raise UserError(f'{key}: scales, ratios and strides must be larger than 0')
    return generator


def _thresholds(assigner: dict[str, Any]) -> list[float]:
    """Return the IoUs that the assigner goes by, and the reported ones."""
    asked = [assigner.get('pos_iou_thr')]
    if assigner.get('match_low_quality', True):
        asked.append(assigner.get('min_pos_iou'))
    given = {one for one in asked if isinstance(one, int | float) and one > 0}
    return sorted({*REPORTED, *given})


def _chosen(
    objects: Objects,
    model: Any,
    generator: AnchorGenerator,
    thresholds: Sequence[float],
    per_cell: int,
) -> tuple[dict[str, Any], Anchors]:
    """Choose anchors and levels; return what changes of the generator, and them."""
    settings, present = model.rpn_head.anchor_generator, Anchors.of(generator)
    recalls, found = {}, {}
    for levels in possible_levels(model, generator):
        changes = {'strides': strides_of(generator, levels)}
        if levels == generator.num_levels:
            changes = {}
        config = {**settings, **changes}
        anchors = choose(objects, config, present, thresholds, per_cell)
        changes |= anchors.changes(settings)
        iou = anchor_iou(objects, TASK_UTILS.build({**settings, **changes})).max((1, 2))
        recalls[levels] = float(np.mean([(iou >= one).mean() for one in thresholds]))
        found[levels] = changes, anchors
    return found[fewest(recalls)]


def _propose(
    changes: dict[str, Any],
    before: Coverage,
    after: Coverage,
    thresholds: Sequence[float],
) -> None:
    """Print the recall before and after, and the lines for the config."""
    settings = ''.join(
        f'            {key}={value},\n' for key, value in changes.items()
    )
    strides = changes.get('strides')
    neck = f'    neck=dict(num_outs={len(strides)}),\n' if strides else ''
    for one in thresholds:
        print(f'  IoU {one:g}: {before.recall(one):.1%} -> {after.recall(one):.1%}')
    print(
        'To copy into the config:\n\n'
        f'model = dict(\n{neck}'
        '    rpn_head=dict(\n'
        '        anchor_generator=dict(\n'
        f'{settings}'
        '        ),\n'
        '    ),\n'
        ')\n\n'
        'The RPN must be trained with them: weights learnt with others do not fit.'
    )
