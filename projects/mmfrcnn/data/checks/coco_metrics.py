"""Whether the evaluator's COCO file fits the data set, asked before the first step."""

from __future__ import annotations

from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.evaluation import CocoMetric
from mmengine.runner import BaseLoop

from mmfrcnn.errors import UserError


def check_metrics(loop: BaseLoop, split: str) -> None:
    """Refuse a `CocoMetric` whose ``ann_file`` lacks images or classes of the data set.

    Args:
        loop (BaseLoop): The loop that evaluates.
        split (str): ``val`` or ``test``.

    Raises:
        UserError: If detections could not be compared with the evaluator's file.
    """
    dataset = loop.dataloader.dataset
    for metric in getattr(getattr(loop, 'evaluator', None), 'metrics', ()):
        api = getattr(metric, '_coco_api', None)
        # LVIS's own names its things otherwise.
        if type(metric).__name__.lower().startswith('lvis') or api is None:
            continue
        if isinstance(metric, CocoMetric) and isinstance(dataset, CocoDataset):
            _check(dataset, api, f'{split}_evaluator.ann_file')


def _check(dataset: CocoDataset, api: Any, key: str) -> None:
    known = set(api.get_img_ids())
    ids = [dataset.get_data_info(index)['img_id'] for index in range(len(dataset))]
    strange = [number for number in ids if number not in known]
    if strange:
        raise UserError(
            f'{key}: {len(strange)} of {len(ids)} images of {dataset.ann_file} are not '
            f'in it, first the id {strange[0]!r}. Give the evaluator the same file'
        )
    classes = list(dataset.metainfo['classes'])
    found = [entry['name'] for entry in api.load_cats(api.get_cat_ids(classes))]
    if found != classes:
        raise UserError(
            f'{key}: of the classes it has {", ".join(found) or "none"}; the data set '
            f'has {", ".join(classes)}. Give the evaluator the same file'
        )
