"""A look at the data before anything is trained or tested on it."""

from __future__ import annotations

from collections.abc import Iterator

from mmdet.datasets import CocoDataset
from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner

from mmfrcnn.data.checks.coco_metrics import check_metrics
from mmfrcnn.data.checks.intact import describe_faults
from mmfrcnn.data.checks.survey import Survey, survey
from mmfrcnn.data.formats.pictures import PictureDataset
from mmfrcnn.data.formats.registry import Surveyed
from mmfrcnn.data.proposals import check_proposals
from mmfrcnn.errors import UserError, did_you_mean


@HOOKS.register_module()
class PreflightHook(Hook):
    """Reports what each split holds, once, and refuses data that can't be meant.

    Works with mmdet's `CocoDataset` and `XMLDataset` and our `PictureDataset`,
    subclasses and wrappers of them; other data sets pass unseen. It reads the
    annotations a second time and looks at every image, see `intact`.

    Raises:
        UserError: If a class of the config is not in the annotation file, a training
            set has no box, an image is missing, broken, not of the size annotated or
            too narrow, stored proposals are not of these images, the evaluator's
            file lacks images or classes of the data set, or a neck does not fit its
            backbone's channels.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner: Runner) -> None:
        """Look at the data of every loop that is about to run."""
        _check_channels(getattr(runner.model, 'module', runner.model))
        for split in ('train', 'val', 'test'):
            loop = getattr(runner, f'_{split}_loop')
            if isinstance(loop, BaseLoop):
                for dataset in plain_datasets(loop.dataloader.dataset):
                    report = check_dataset(dataset, split)
                    if is_main_process():
                        runner.logger.info('\n' + report)
                    check_proposals(dataset, f'{split}_dataloader.dataset')
                check_metrics(loop, split)


def check_dataset(dataset: Surveyed, split: str, key: str | None = None) -> str:
    """Survey one data set, refuse what can't be meant, and return the report.

    Args:
        dataset (Surveyed): A data set that is loaded.
        split (str): ``train``, ``val`` or ``test``.
        key (str | None): Where a message says it is; None: in the config's loader.

    Raises:
        UserError: See `PreflightHook`.
    """
    result = survey(dataset)
    key = key or f'{split}_dataloader.dataset'
    is_coco = isinstance(dataset, CocoDataset)
    strict = is_coco or getattr(dataset, 'lists_classes', False)
    _check_classes(result, f'{key}.metainfo.classes', strict)
    if is_coco:
        _check_order(result, f'{key}.metainfo.classes')
    if split == 'train' and not result.num_boxes:
        found = '; '.join(map(str.strip, result.screen(split, '').splitlines()))
        raise UserError(
            f'{key}: nothing to train on: {result.source} has no box of the classes '
            f'{_names(result.classes)}. {found}'
        )
    faults = describe_faults(result.faults, result.num_used)
    if faults:
        raise UserError(f'{key}: {faults}')
    return result.screen(split, _notes(dataset, split))


def _notes(dataset: Surveyed, split: str) -> str:
    """Say where boxes that the report calls left out are not, outside our control."""
    if isinstance(dataset, CocoDataset) and split != 'train':
        return ' (CocoMetric counts those of its ann_file all the same)'
    if not isinstance(dataset, CocoDataset | PictureDataset):
        return " (by type='VocXmlDataset'; mmdet's own XMLDataset keeps some)"
    return ''


def _check_classes(result: Survey, key: str, strict: bool) -> None:
    """Refuse a class that the file does not know.

    A COCO file lists its categories; VOC files show only those that occur, so there
    a class may be absent, unless names that nobody asked for occur in its stead.
    """
    absent = [name for name in result.classes if name not in result.categories]
    if not absent or not (strict or result.unknown):
        return
    if len(absent) == len(result.classes) and len(absent) > 1:
        raise UserError(
            f'{key}: none of the {len(absent)} classes ({_names(absent)}) is in '
            f'{result.source}. It has {_names(result.categories)}. Set '
            'metainfo=dict(classes=(...)) in the data set'
        )
    near = did_you_mean(absent[0], result.categories)
    raise UserError(
        f'{key}: {absent[0]!r} is not a category of {result.source}.{near} '
        f'It has {_names(result.categories)}. The files of all splits need one list '
        "of categories: add what is missing to this file's, even if no object is of "
        'it, or take the name out of metainfo=dict(classes=(...)) of all splits'
    )


def _check_order(result: Survey, key: str) -> None:
    """Refuse names in another order than the file's, in which mmdet numbers labels."""
    numbered = [name for name in result.categories if name in result.classes]
    if numbered != list(result.classes):
        raise UserError(
            f'{key}: {_names(result.classes)} is not the order of {result.source}. '
            'mmdet numbers the labels of a COCO file in its order, so names would be '
            f'exchanged. Write classes=({_names(numbered)})'
        )


def _names(names) -> str:
    shown = ', '.join(repr(name) for name in list(names)[:10])
    return shown + (', ...' if len(names) > 10 else '') if names else 'none'


def plain_datasets(dataset) -> Iterator[Surveyed]:
    """Yield the data sets inside any wrappers (repeated, concatenated, balanced)."""
    if isinstance(dataset, Surveyed):
        yield dataset
    for inner in [*getattr(dataset, 'datasets', ()), getattr(dataset, 'dataset', None)]:
        if inner is not None:
            yield from plain_datasets(inner)


def _check_channels(model) -> None:
    """Refuse a neck made for other channels than the backbone says it gives."""
    given = getattr(getattr(model, 'backbone', None), 'out_channels', None)
    expected = getattr(getattr(model, 'neck', None), 'in_channels', None)
    if isinstance(given, list) and isinstance(expected, list) and given != expected:
        raise UserError(
            f'model.neck.in_channels is {expected}, but the backbone '
            f'{model.backbone.name} gives {given} at {model.backbone.out_nodes}'
        )
