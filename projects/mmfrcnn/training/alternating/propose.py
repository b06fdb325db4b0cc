"""Proposals of a trained RPN for every image of a data set."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from mmengine.dist import collect_results_cpu
from torch.utils.data import DataLoader

from mmfrcnn.data.proposals import ImageProposals
from mmfrcnn.errors import UserError

SECONDS_BETWEEN_REPORTS = 10


@torch.no_grad()
def propose(
    model: Any,
    dataloader: DataLoader,
    cfg: dict,
    report: Callable[[str], None],
) -> list[ImageProposals]:
    """Run the RPN of a detector over a data set.

    Args:
        model (Any): A two-stage detector, or mmdet's ``RPN``.
        dataloader (DataLoader): Images without augmentation, each once.
        cfg (dict): ``nms_pre``, ``max_per_img``, ``nms`` and ``min_bbox_size``.
        report (Callable): Takes a line of progress, every few seconds.

    Returns:
        list[ImageProposals]: One an image, in original pixels; in the main process of a
        distributed run those of all processes, elsewhere none.
    """
    model.eval()
    head = model.rpn_head if hasattr(model, 'rpn_head') else model.bbox_head
    found = []
    total = len(dataloader.dataset)  # type: ignore[arg-type]
    start = said = time.monotonic()
    for index, batch in enumerate(dataloader):
        data = model.data_preprocessor(batch, False)
        metas = [sample.metainfo for sample in data['data_samples']]
        maps = head(model.extract_feat(data['inputs']))
        results = head.predict_by_feat(
            *maps, batch_img_metas=metas, cfg=cfg, rescale=True
        )
        for meta, result in zip(metas, results, strict=True):
            found.append((str(meta.get('img_path')), _on_host(meta, result)))
        now = time.monotonic()
        if now - said > SECONDS_BETWEEN_REPORTS:
            done, said = (index + 1) / len(dataloader), now
            left = int((now - start) * (1 / done - 1))
            report(
                f'Proposals: {len(found)} of {total} images, '
                f'eta {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}'
            )
    gathered = collect_results_cpu(found, total)
    return _once_an_image(gathered or [])


def _on_host(meta: dict, result: Any) -> ImageProposals:
    height, width = meta['ori_shape'][:2]
    boxes = result.bboxes.detach().float().cpu().numpy()
    scores = result.scores.detach().float().cpu().numpy()
    return ImageProposals(meta['img_id'], (height, width), boxes, scores)


def _once_an_image(found: list[tuple[str, ImageProposals]]) -> list[ImageProposals]:
    """Drop what several processes did twice; refuse two images of one id."""
    images: dict[str, tuple[str, ImageProposals]] = {}
    for path, proposals in found:
        known, _ = images.setdefault(str(proposals.img_id), (path, proposals))
        if known != path:
            raise UserError(
                f'{known} and {path} both have the image id {proposals.img_id!r}, so '
                'their proposals could not be told apart: give the images of joined '
                'data sets ids of their own'
            )
    return [proposals for _, proposals in images.values()]


def unaugmented(train: dict, test: dict) -> dict:
    """Return a dataloader config over the training images, prepared as for testing.

    Args:
        train (dict): Config of the training dataloader: which images. Wrappers that
            repeat, balance or mix them are left out.
        test (dict): Config of the test (or validation) dataloader: all else.

    Returns:
        dict: Each training image once, in order.
    """
    loader = copy.deepcopy(test)
    pipeline = next(_plain(test['dataset']))['pipeline']
    sets = [copy.deepcopy(one) for one in _plain(train['dataset'])]
    for one in sets:
        one['pipeline'] = copy.deepcopy(pipeline)
    loader['dataset'] = sets[0]
    if len(sets) > 1:
        loader['dataset'] = dict(type='ConcatDataset', datasets=sets)
    return loader


def _plain(dataset: dict) -> Iterator[dict]:
    """Yield the data sets inside any wrappers."""
    inner = [*dataset.get('datasets', ())]
    inner += [dataset['dataset']] if 'dataset' in dataset else []
    for one in inner:
        yield from _plain(one)
    if not inner:
        yield dataset


def with_stored_proposals(dataset: dict, file: str) -> dict:
    """Return a data set's config whose pipeline loads proposals before it packs.

    Args:
        dataset (dict): Config of a data set, with any wrappers.
        file (str): The proposals.

    Raises:
        UserError: If no pipeline in it ends with a packing step.
    """
    dataset = copy.deepcopy(dataset)
    loading = dict(type='LoadStoredProposals', file=file)
    if not _insert_before_packing(dataset, loading):
        raise UserError(
            'train_dataloader.dataset: no pipeline in it ends with PackDetInputs, '
            'before which stored proposals are loaded'
        )
    return dataset


def _insert_before_packing(dataset: dict, loading: dict) -> bool:
    pipeline = dataset.get('pipeline') or []
    if pipeline and 'Pack' in str(pipeline[-1]['type']):
        dataset['pipeline'] = [*pipeline[:-1], dict(loading), pipeline[-1]]
        return True
    inner = [*dataset.get('datasets', ())]
    inner += [dataset['dataset']] if 'dataset' in dataset else []
    return bool(inner) and all(_insert_before_packing(one, loading) for one in inner)
