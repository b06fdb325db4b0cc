"""The AP of each class, where they are few."""

from __future__ import annotations

import re
from typing import Any

from mmdet.registry import DATASETS
from mmengine.config import Config

from mmfrcnn.data.class_names import plain_configs

COCO_METRICS = ('CocoMetric', 'FastCocoMetric')
FEW = 20
"""Classes at most that are evaluated one by one."""
PLAIN_NAME = re.compile(r'[\w .-]+')
"""Names that no tracker refuses in the name of a metric."""


def evaluate_each_class(config: Config, split: str) -> None:
    """Have COCO's metrics give the AP of each class too, unless a config says no.

    It gives them before the others: where the best checkpoint is that of the first
    metric (``save_best='auto'``), all stays as it is.

    Args:
        config (Config): Of a run, class names filled in; changed in place.
        split (str): ``val`` or ``test``.
    """
    hook = (config.get('default_hooks') or {}).get('checkpoint') or {}
    saved = hook.get('save_best')
    if 'auto' in (saved if isinstance(saved, list | tuple) else [saved]):
        return
    names = _class_names((config.get(f'{split}_dataloader') or {}).get('dataset') or {})
    if not 0 < len(names) <= FEW or not all(map(PLAIN_NAME.fullmatch, names)):
        return
    evaluators = config.get(f'{split}_evaluator') or []
    for one in evaluators if isinstance(evaluators, list | tuple) else [evaluators]:
        kind = one.get('type')
        if kind in COCO_METRICS and not one.get('format_only'):
            one.setdefault('classwise', True)


def _class_names(dataset: dict) -> list[str]:
    for _, plain in plain_configs(dataset, ''):
        own: Any = plain['type']
        own = DATASETS.get(own) if isinstance(own, str) else own
        given = (plain.get('metainfo') or {}).get('classes')
        return list(given or getattr(own, 'METAINFO', {}).get('classes') or ())
    return []
