"""The facts of a run: its evaluation, that of training images, what training is fed."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmdet.models.task_modules import AnchorGenerator
from mmdet.registry import DATASETS, TASK_UTILS
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner, TestLoop

from mmfrcnn.cli.anchor_fit.coverage import anchor_iou
from mmfrcnn.cli.anchor_fit.fed import fed_objects
from mmfrcnn.cli.anchor_fit.objects import spread
from mmfrcnn.cli.runtime import print_once
from mmfrcnn.data.checks.preflight import PreflightHook
from mmfrcnn.data.class_names import innermost, plain_configs
from mmfrcnn.errors import UserError
from mmfrcnn.evaluation import LedgerHook
from mmfrcnn.evaluation.ledger.truth import truths_of
from mmfrcnn.report.facts import Facts, Fed, Split, sides_of

COUNTED = 20_000
"""So many training images, evenly spread, tell how frequent a class is."""


def use_held_out(config: Config, path: str) -> str:
    """Let a test be of the validation's images, if there are; return whose it is.

    Args:
        config (Config): Of a run, changed in place.
        path (str): Its file.

    Raises:
        UserError: If there is neither validation nor test.
    """
    for split in ('val', 'test'):
        if config.get(f'{split}_dataloader') and config.get(f'{split}_evaluator'):
            for part in ('dataloader', 'evaluator'):
                config[f'test_{part}'] = config[f'{split}_{part}']
            config.test_cfg = {'type': 'TestLoop'}
            return split
    raise UserError(
        f'{path} has no val_dataloader with a val_evaluator, and none for tests, so '
        'there is nothing to evaluate. Add them, as configs/_base_/datasets do'
    )


def gather(runner: Runner, config: Config, path: str, images: int) -> Facts:
    """Evaluate, and look at what the network is trained on.

    Args:
        runner (Runner): Ready to test.
        config (Config): Its config, after `use_held_out`.
        path (str): The config's file.
        images (int): How many training images are looked at.

    Raises:
        UserError: If there are no objects, or not the stages that a ledger needs.
    """
    truths = truths_of(runner.test_dataloader.dataset).values()
    if not any((~truth.ignored).any() for truth in truths):
        raise UserError(
            f'none of the {len(truths)} images to evaluate has an object, so there is '
            'nothing to report on. Check ann_file and metainfo=dict(classes=...) of '
            'val_dataloader.dataset'
        )
    held_out = _evaluated(runner, 'ledger')
    if held_out is None:
        raise UserError(
            f'{path}: there is no ledger of this detector (the log says why), and a '
            'report is made of it. It needs an RPN of anchors and box heads that '
            'classify and regress'
        )
    training = fed = counts = None
    if config.get('train_dataloader'):
        dataset = _training_set(config)
        counts = _class_counts(dataset)
        training = _on_training_images(runner, config, dataset, images)
        fed = _fed(config, path, images)
    return Facts(held_out, training, fed, counts, _settings(config.model))


def _evaluated(runner: Runner, name: str) -> Split | None:
    """Test, and return the ledger, None if there is none."""
    hook = LedgerHook(name=name)
    runner.register_hook(hook)
    runner.test()
    runner._hooks.remove(hook)
    if hook.columns is None or hook.summary is None:
        return None
    return Split(hook.columns, hook.summary)


def _training_set(config: Config) -> Any:
    """Build the first training set, without wrappers, to be seen as in tests."""
    _, plain = next(plain_configs(config.train_dataloader.dataset, ''))
    pipeline = innermost(config.test_dataloader.dataset).pipeline
    return DATASETS.build({**plain, 'pipeline': pipeline})


def _on_training_images(
    runner: Runner, config: Config, dataset: Any, number: int
) -> Split | None:
    """Evaluate some training images, evenly spread, as if they were for testing."""
    dataset.get_subset_(spread(len(dataset), number))
    print_once(f'Now {len(dataset)} of the images trained on, seen as in tests:')
    loader = {**config.test_dataloader, 'dataset': dataset}
    # They have been looked at before the training.
    runner._hooks = [one for one in runner.hooks if not isinstance(one, PreflightHook)]
    runner._test_loop = TestLoop(runner, loader, Evaluator([]))
    return _evaluated(runner, 'training_ledger')


def _class_counts(dataset: Any) -> list[int]:
    """Count the objects of each class, (C,)."""
    labels = [
        one['bbox_label']
        for index in spread(len(dataset), COUNTED)
        for one in dataset.get_data_info(index)['instances']
        if not one.get('ignore_flag')
    ]
    classes = len(dataset.metainfo['classes'])
    return np.bincount(np.array(labels, np.int64), minlength=classes).tolist()


def _fed(config: Config, path: str, images: int) -> Fed:
    """Look at the objects that training is fed, and their anchors."""
    objects, _ = fed_objects(config, path, images, seed=0)
    sides = sides_of(objects.boxes)
    settings = (config.model.get('rpn_head') or {}).get('anchor_generator')
    generator = TASK_UTILS.build(settings) if settings else None
    if not isinstance(generator, AnchorGenerator):
        return Fed(sides)
    extents = [base[:, 2:] - base[:, :2] for base in generator.base_anchors]
    anchor_sides = [side for one in extents for side in one.prod(1).sqrt().tolist()]
    iou = anchor_iou(objects, generator).max((1, 2))
    return Fed(sides, iou, (min(anchor_sides), max(anchor_sides)))


def _settings(model: Any) -> dict[str, float]:
    """Read the numbers that advice is about from a model's config."""
    tests = model.get('test_cfg') or {}
    first, second = tests.get('rpn') or {}, tests.get('rcnn') or {}
    found = {
        'nms_iou': (second.get('nms') or {}).get('iou_threshold'),
        'proposals': first.get('max_per_img'),
        'nms_pre': first.get('nms_pre'),
        'rpn_nms_iou': (first.get('nms') or {}).get('iou_threshold'),
    }
    return {k: v for k, v in found.items() if isinstance(v, int | float)}
