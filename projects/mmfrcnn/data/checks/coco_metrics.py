"""Whether the evaluator's COCO file fits the data set, asked before the first step."""

from __future__ import annotations

from typing import Any

from mmdet.datasets import BaseDetDataset, CocoDataset
from mmdet.evaluation import CocoMetric, LVISMetric
from mmengine.runner import BaseLoop

from mmfrcnn.errors import UserError


def check_metrics(loop: BaseLoop, split: str) -> None:
    """Refuse a `CocoMetric` that does not know the images or classes of the data set.

    Args:
        loop (BaseLoop): The loop that evaluates.
        split (str): ``val`` or ``test``.

    Raises:
        UserError: If the evaluator's file lacks some of them; or if it has no file, and
            the images come without their ground truth.
    """
    dataset = loop.dataloader.dataset
    for metric in getattr(getattr(loop, 'evaluator', None), 'metrics', ()):
        if not isinstance(metric, CocoMetric) or isinstance(metric, LVISMetric):
            continue  # LVIS's own names its things otherwise
        api = metric._coco_api
        if api is None and isinstance(dataset, BaseDetDataset) and len(dataset):
            _check_samples(dataset, split)
        if api is not None and isinstance(dataset, CocoDataset):
            _check(dataset, api, f'{split}_evaluator.ann_file')


def _check_samples(dataset: BaseDetDataset, split: str) -> None:
    sample = dataset[0]['data_samples']
    for one in sample if isinstance(sample, list) else [sample]:  # views of an image
        if 'instances' not in one:
            raise UserError(
                f'{split}_evaluator has no ann_file, and the images of '
                f"{split}_dataloader come without 'instances', their ground truth. "
                "Give it the data set's ann_file, or add 'instances' to meta_keys of "
                'PackDetInputs in the pipeline'
            )


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
