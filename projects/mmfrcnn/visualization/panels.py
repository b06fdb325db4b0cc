"""One picture beside another: ground truth, proposals, detections.

Boxes are xyxy in pixels of the picture they are drawn on; pictures are (H, W, 3) uint8,
BGR.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmfrcnn.visualization.fed import PICTURE_WIDTH
from mmfrcnn.visualization.painter import Painter

ENLARGE = 2  # small pictures, so that class names can be read
TITLE_HEIGHT, GAP, FONT = 28, 6, cv2.FONT_HERSHEY_SIMPLEX
INK, PAPER, PROPOSAL_COLOR, IGNORED_COLOR = (30, 30, 30), 255, (255, 215, 0), (150,) * 3


def draw_panel(
    picture: np.ndarray,
    gt: InstanceData,
    proposals: InstanceData,
    detections: InstanceData,
    *,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    score_thr: float,
    num_proposals: int,
    ignored: Any = None,
) -> np.ndarray:
    """Draw ground truth, the best proposals and the detections of one picture in a row.

    Args:
        picture (np.ndarray): The picture.
        gt (InstanceData): ``bboxes`` and ``labels``.
        proposals (InstanceData): ``bboxes``, best first.
        detections (InstanceData): ``bboxes``, ``labels`` and ``scores``.
        classes (Sequence[str]): Class names, by label.
        palette (Sequence[Sequence[int]]): RGB colours, by label.
        score_thr (float): Draw detections from this score on.
        num_proposals (int): Draw so many proposals at most.
        ignored (Tensor | HorizontalBoxes | None): Ignored regions, (I, 4): grey.

    Returns:
        np.ndarray: The row, with a title above each picture.
    """
    painter = Painter(classes, palette)

    def column(title: str) -> np.ndarray:
        return _titled(painter.picture()[..., ::-1], title)

    rgb = picture[..., ::-1]
    painter.start(rgb, ENLARGE)
    if ignored is not None:
        count = len(ignored)
        painter.outline(ignored, [IGNORED_COLOR] * count, ['crowd'] * count)
    painter.objects(gt)
    columns = [column(f'ground truth: {len(gt)}')]

    painter.start(rgb, ENLARGE)
    best = proposals.bboxes[:num_proposals]
    painter.outline(best, [PROPOSAL_COLOR] * len(best))
    columns.append(column(f'{len(best)} best proposals'))

    painter.start(rgb, ENLARGE)
    shown = detections[detections.scores >= score_thr]
    painter.objects(shown)
    columns.append(column(f'detections, score >= {score_thr:g}: {len(shown)}'))
    gap = np.full((len(columns[0]), GAP, 3), PAPER, np.uint8)
    return np.hstack([columns[0], gap, columns[1], gap, columns[2]])


def draw_pair(
    picture: np.ndarray,
    gt: InstanceData,
    detections: InstanceData,
    *,
    painter: Painter,
    score_thr: float,
) -> np.ndarray:
    """Draw ground truth and detections of one picture, side by side.

    Args:
        picture (np.ndarray): The picture.
        gt (InstanceData): ``bboxes`` and ``labels``.
        detections (InstanceData): ``bboxes``, ``labels`` and ``scores``.
        painter (Painter): With the names of the classes.
        score_thr (float): Draw detections from this score on.

    Returns:
        np.ndarray: The row, with a title above each picture.
    """
    zoom = max(1, PICTURE_WIDTH // picture.shape[1])
    shown = detections[detections.scores >= score_thr]
    columns = []
    for found, title in (
        (gt, f'ground truth: {len(gt)}'),
        (shown, f'detections, score >= {score_thr:g}: {len(shown)}'),
    ):
        painter.start(picture[..., ::-1], zoom)
        painter.objects(found)
        columns.append(_titled(painter.picture()[..., ::-1], title))
    gap = np.full((len(columns[0]), GAP, 3), PAPER, np.uint8)
    return np.hstack([columns[0], gap, columns[1]])


@torch.no_grad()
def write_panels(
    model: Any,
    dataset: Any,
    indices: Sequence[int],
    folder: str | Path,
    *,
    score_thr: float = 0.5,
    num_proposals: int = 30,
    sheet_rows: int = 4,
) -> list[Path]:
    """Write a panel for each of some pictures of a data set, and a sheet of the first.

    Args:
        model (Any): A two-stage detector in evaluation mode.
        dataset (Any): mmdet's data set in test mode, with annotations in its samples.
        indices (Sequence[int]): Which of its pictures.
        folder (str | Path): Where to write ``panel_*.png`` and ``overview.jpg``.
        score_thr (float): Draw detections from this score on.
        num_proposals (int): Draw so many proposals at most.
        sheet_rows (int): Panels in the overview.

    Returns:
        list[Path]: The files, the overview first.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    meta = dataset.metainfo
    files, panels = [], []
    for index in indices:
        item = dataset[index]
        batch = dict(inputs=[item['inputs']], data_samples=[item['data_samples']])
        sample: DetDataSample = item['data_samples']
        data = model.data_preprocessor(batch, False)
        features = model.extract_feat(data['inputs'])
        proposals = model.rpn_head.predict(features, data['data_samples'], rescale=True)
        (result,) = model.test_step(batch)
        panel = draw_panel(
            cv2.imread(sample.img_path),
            sample.gt_instances,
            proposals[0].to('cpu'),
            result.pred_instances.to('cpu'),
            classes=meta['classes'],
            palette=meta['palette'],
            score_thr=score_thr,
            num_proposals=num_proposals,
            ignored=sample.ignored_instances.bboxes,
        )
        files.append(folder / f'panel_{Path(sample.img_path).stem}.png')
        cv2.imwrite(str(files[-1]), panel)
        panels.append(panel)
    sheet = np.vstack(panels[:sheet_rows])
    overview = folder / 'overview.jpg'
    half = cv2.resize(sheet, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(overview), half, [cv2.IMWRITE_JPEG_QUALITY, 88])
    return [overview, *files]


def _titled(picture: np.ndarray, title: str) -> np.ndarray:
    strip = np.full((TITLE_HEIGHT, picture.shape[1], 3), PAPER, np.uint8)
    cv2.putText(strip, title, (4, 20), FONT, 0.6, INK, 1, cv2.LINE_AA)
    return np.vstack([strip, picture])
