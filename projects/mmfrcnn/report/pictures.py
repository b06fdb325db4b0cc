"""The images of most mistakes, with the reason of each drawn.

Shapes: G objects and D detections of all images.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import mmcv
import numpy as np

from mmfrcnn.evaluation.label_errors import LabelError
from mmfrcnn.evaluation.ledger.columns import Columns
from mmfrcnn.evaluation.ledger.matching import NOBODY
from mmfrcnn.report.facts import Split
from mmfrcnn.visualization.painter import Painter

IMAGES = 40
"""Images that are shown, at most."""
WIDTH = 560
"""Pixels of a picture's width on the page, at most."""
QUALITY = 80
MISSED, FALSE, SUGGESTED = (196, 30, 30), (255, 140, 0), (44, 160, 44)  # RGB
CROP, MARGIN = 200, 0.6
"""Side of the picture of a label, and how much is seen around it, of its side."""


@dataclass(frozen=True)
class Shown:
    """A picture on the page.

    Attributes:
        source (str): A JPEG as a ``data:`` address; '' if the image cannot be read.
        name (str): File of the image.
        size (tuple): (width, height) in pixels of the page.
        notes (list[str]): What is drawn, in words.
        classes (list[str]): Classes of the objects missed and found falsely.
        sizes (list[str]): Groups by size of the objects missed.
        reasons (list[str]): Their fates, and kinds of the detections.
    """

    source: str
    name: str
    size: tuple[int, int]
    notes: list[str]
    classes: list[str]
    sizes: list[str]
    reasons: list[str]


def worst_images(split: Split, threshold: float) -> list[Shown]:
    """Draw the images of most missed objects and false detections, `IMAGES` at most.

    Args:
        split (Split): An evaluation.
        threshold (float): False detections of at least this score count.
    """
    columns = split.columns
    missed = split.fates != 'detected'
    false = ~np.isin(split.kinds, ('true', 'ignored'))
    false &= columns.detection_score >= threshold
    images = columns.object_image[missed], columns.detection_image[false]
    mistakes = np.bincount(np.concatenate(images), minlength=len(columns.image_id))
    order = np.argsort(-mistakes, kind='stable')[:IMAGES]
    painter = Painter([])
    return [
        _shown(split, image, missed, false, painter)
        for image in order.tolist()
        if mistakes[image]
    ]


def _shown(
    split: Split, image: int, missed: np.ndarray, false: np.ndarray, painter: Painter
) -> Shown:
    columns = split.columns
    objects = np.flatnonzero(missed & (columns.object_image == image))
    found = np.flatnonzero(false & (columns.detection_image == image))
    own = columns.classes[columns.object_label[objects]].tolist()
    called = columns.classes[columns.detection_label[found]].tolist()
    fates, kinds = split.fates[objects].tolist(), split.kinds[found].tolist()
    scores = columns.detection_score[found].tolist()
    path = Path(str(columns.image_path[image]))
    drawn = _read(path)
    if drawn is not None:
        picture, scale = _fitted(drawn)
        painter.start(picture)
        for rows, boxes, colour, names, style in (
            # What the false ones are is written below the picture.
            (found, columns.detection_box, FALSE, (), '--'),
            (objects, columns.object_box, MISSED, fates, '-'),
        ):
            colours = [colour] * len(rows)
            painter.outline(boxes[rows] * scale, colours, names, style)
        drawn = painter.picture()
    return Shown(
        '' if drawn is None else _address(drawn),
        path.name,
        (0, 0) if drawn is None else (drawn.shape[1], drawn.shape[0]),
        [
            *(
                f'missed {name}: {fate} ({_nearest(columns, row)})'
                for name, fate, row in zip(own, fates, objects.tolist(), strict=True)
            ),
            *(
                f'{kind}: {name} {score:.2f}'
                for name, kind, score in zip(called, kinds, scores, strict=True)
            ),
        ],
        sorted({*own, *called}),
        sorted(set(columns.object_size[objects].tolist())),
        sorted({*fates, *kinds}),
    )


def _nearest(columns: Columns, row: int) -> str:
    """Say how near an object the anchor, proposal and detection nearest to it came."""
    steps = {
        'anchor': columns.object_anchor_iou[row],
        'proposal': columns.object_proposal_iou[row],
        'detection': columns.object_detection_iou[row],
    }
    near = [f'{name} {iou:.2f}' for name, iou in steps.items() if not np.isnan(iou)]
    found = columns.object_detection[row]
    if found != NOBODY:
        near.append(str(columns.classes[columns.detection_label[found]]))
    return ', '.join(near) or 'nothing near'


def label_pictures(errors: Sequence[LabelError]) -> list[str]:
    """Draw the place of each label error; '' where the image cannot be read.

    The label is red, what is suggested green.
    """
    painter = Painter([])
    pictures = []
    for error in errors:
        picture = _read(Path(error.path))
        pictures.append('' if picture is None else _crop(picture, error, painter))
    return pictures


def _crop(picture: np.ndarray, error: LabelError, painter: Painter) -> str:
    boxes = [error.box] if error.object is not None else []
    suggested = [error.suggested_box] if error.suggested_box else []
    corners = np.array([*boxes, *suggested, *([] if boxes else [error.box])], float)
    x1, y1 = corners[:, :2].min(0)
    x2, y2 = corners[:, 2:].max(0)
    margin = MARGIN * max(x2 - x1, y2 - y1, 8)
    height, width = picture.shape[:2]
    left, right = _within(x1 - margin, x2 + margin, width)
    top, bottom = _within(y1 - margin, y2 + margin, height)
    part = picture[top:bottom, left:right]
    scale = CROP / max(part.shape[:2])
    size = tuple(max(1, round(side * scale)) for side in part.shape[1::-1])
    painter.start(cv2.resize(part, size, interpolation=cv2.INTER_AREA))
    for own, colour in ((boxes, MISSED), (suggested, SUGGESTED)):
        moved = (np.array(own, float).reshape(-1, 4) - [left, top] * 2) * scale
        painter.outline(moved, [colour] * len(own))
    return _address(painter.picture())


def _within(low: float, high: float, limit: int) -> tuple[int, int]:
    """Clip a span to whole pixels of an image, one at least."""
    start = int(np.clip(low, 0, limit - 1))
    return start, int(np.clip(np.ceil(high), start + 1, limit))


def _read(path: Path) -> np.ndarray | None:
    """Read an image as RGB uint8 (H, W, 3); None if that fails."""
    try:
        return mmcv.imread(str(path), channel_order='rgb')
    except Exception:  # a page without one picture is better than no page
        return None


def _fitted(picture: np.ndarray) -> tuple[np.ndarray, float]:
    """Shrink a picture that is too wide; return it and its scale."""
    scale = min(1.0, WIDTH / picture.shape[1])
    size = (round(picture.shape[1] * scale), max(1, round(picture.shape[0] * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA), scale


def _address(picture: np.ndarray) -> str:
    """Return an RGB picture as a ``data:`` address of a JPEG."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return f'data:image/jpeg;base64,{base64.b64encode(data).decode()}'
