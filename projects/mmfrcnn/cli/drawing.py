"""Pictures and videos of detections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import cv2
import mmcv
import numpy as np
import torch
from mmengine.structures import InstanceData
from mmengine.utils import track_iter_progress
from pycocotools import mask as coco_mask

from mmfrcnn.cli.journal import Journal
from mmfrcnn.cli.sources import Video
from mmfrcnn.data.images import UnreadableImageError
from mmfrcnn.visualization.painter import Painter


def draw_detections(
    painter: Painter, image: np.ndarray, detections: Sequence[dict], score_thr: float
) -> np.ndarray:
    """Return a copy of a BGR image with its detections on it.

    Args:
        painter (Painter): Draws them.
        image (np.ndarray): BGR uint8, shape (H, W, 3).
        detections (Sequence[dict]): COCO results of the image.
        score_thr (float): Draw those of this score and better.
    """
    shown = [d for d in detections if d['score'] >= score_thr]
    boxes = torch.tensor([d['bbox'] for d in shown]).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]  # xywh -> xyxy
    found = InstanceData(
        bboxes=boxes,
        scores=torch.tensor([d['score'] for d in shown]),
        labels=torch.tensor([d['category_id'] - 1 for d in shown]).long(),
    )
    if shown and 'segmentation' in shown[0]:
        masks = [coco_mask.decode(d['segmentation']) for d in shown]
        found.masks = torch.from_numpy(np.stack(masks)).bool()
    return mmcv.rgb2bgr(painter.draw(mmcv.bgr2rgb(image), found))


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a BGR picture, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = '.jpg' if path.suffix.lower() == '.jfif' else path.suffix  # another name
    path.write_bytes(cv2.imencode(kind, picture)[1].tobytes())


def write_video(
    path: Path, source: Video, journal: Journal, draw: Callable[..., np.ndarray]
) -> None:
    """Write the frames of a video with their detections to an MP4 file.

    Args:
        path (Path): The file.
        source (Video): The frames; one that can't be decoded repeats the one before.
        journal (Journal): Their detections.
        draw (Callable): Returns a frame with detections on it.
    """
    size = (source.reader.width, source.reader.height)
    stream = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*'mp4v'), source.fps, size
    )
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    for index in track_iter_progress(range(len(source))):
        with suppress(UnreadableImageError):
            entry = journal.get(source.name(index), {'detections': []})
            picture = draw(source.read(index), entry['detections'])
        stream.write(picture)
    stream.release()
    print()
