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

ENLARGE = 2  # small pictures, so that class names can be read
TITLE_HEIGHT, GAP, FONT = 28, 6, cv2.FONT_HERSHEY_SIMPLEX
INK, PAPER, PROPOSAL_COLOR, IGNORED_COLOR = (30, 30, 30), 255, (0, 215, 255), (150,) * 3


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
    ignored: np.ndarray | None = None,
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
        ignored (np.ndarray | None): Ignored regions, (I, 4): grey.

    Returns:
        np.ndarray: The row, with a title above each picture.
    """

    def colors(labels: np.ndarray) -> list[tuple[int, ...]]:
        return [tuple(int(c) for c in palette[label][::-1]) for label in labels]

    height, width = picture.shape[:2]
    size = (width * ENLARGE, height * ENLARGE)
    large = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
    labels = _numpy(gt.labels)
    left = large
    if ignored is not None:
        count = len(ignored)
        left = _boxes(left, ignored, [IGNORED_COLOR] * count, ['crowd'] * count)
    left = _boxes(left, _numpy(gt.bboxes), colors(labels), [classes[i] for i in labels])

    best = _numpy(proposals.bboxes)[:num_proposals]
    middle = _boxes(large, best, [PROPOSAL_COLOR] * len(best), [''] * len(best))

    shown = detections[detections.scores >= score_thr]
    labels = _numpy(shown.labels)
    names = [
        f'{classes[label]} {score:.2f}'
        for label, score in zip(labels, _numpy(shown.scores), strict=True)
    ]
    right = _boxes(large, _numpy(shown.bboxes), colors(labels), names)
    columns = [
        _titled(left, f'ground truth: {len(gt)}'),
        _titled(middle, f'{len(best)} best proposals'),
        _titled(right, f'detections, score >= {score_thr:g}: {len(shown)}'),
    ]
    gap = np.full((len(columns[0]), GAP, 3), PAPER, np.uint8)
    return np.hstack([columns[0], gap, columns[1], gap, columns[2]])


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
            ignored=_numpy(sample.ignored_instances.bboxes),
        )
        files.append(folder / f'panel_{Path(sample.img_path).stem}.png')
        cv2.imwrite(str(files[-1]), panel)
        panels.append(panel)
    sheet = np.vstack(panels[:sheet_rows])
    overview = folder / 'overview.jpg'
    half = cv2.resize(sheet, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(overview), half, [cv2.IMWRITE_JPEG_QUALITY, 88])
    return [overview, *files]


def _numpy(values: Any) -> np.ndarray:
    return np.asarray(getattr(values, 'tensor', values).cpu())


def _boxes(
    large: np.ndarray,
    boxes: np.ndarray,
    colors: Sequence[tuple[int, ...]],
    names: Sequence[str],
) -> np.ndarray:
    """Return a copy of an enlarged picture with boxes (K, 4), not enlarged, on it."""
    canvas = large.copy()
    corners = np.round(boxes * ENLARGE).astype(int).tolist()
    for (x1, y1, x2, y2), color in zip(corners, colors, strict=True):
        cv2.rectangle(canvas, (x1, y1), (x2, y2), color, 2, cv2.LINE_AA)
    for (x1, y1, _, _), color, name in zip(corners, colors, names, strict=True):
        if name:
            _label(canvas, (x1, y1), name, color)
    return canvas


def _label(
    canvas: np.ndarray, corner: tuple[int, int], text: str, color: tuple[int, ...]
) -> None:
    """Write a text on a filled strip above a corner, inside the picture."""
    (width, height), _ = cv2.getTextSize(text, FONT, 0.45, 1)
    x = min(max(corner[0], 0), max(canvas.shape[1] - width - 4, 0))
    y = max(corner[1], height + 6)
    cv2.rectangle(canvas, (x, y - height - 6), (x + width + 4, y), color, -1)
    bright = 0.114 * color[0] + 0.587 * color[1] + 0.299 * color[2] > 140
    ink = (0, 0, 0) if bright else (255, 255, 255)
    cv2.putText(canvas, text, (x + 2, y - 4), FONT, 0.45, ink, 1, cv2.LINE_AA)


def _titled(picture: np.ndarray, title: str) -> np.ndarray:
    strip = np.full((TITLE_HEIGHT, picture.shape[1], 3), PAPER, np.uint8)
    cv2.putText(strip, title, (4, 20), FONT, 0.6, INK, 1, cv2.LINE_AA)
    return np.vstack([strip, picture])
