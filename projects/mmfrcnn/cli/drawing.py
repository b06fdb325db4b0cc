"""Pictures of detections, drawn by mmdet's visualizer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import mmcv
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData
from mmengine.utils import track_iter_progress
from pycocotools import mask as coco_mask

from mmfrcnn.cli.journal import Journal
from mmfrcnn.cli.sources import UnreadableImageError, Video


class DetectionPainter:
    """Draws boxes, with class names and scores, and masks on images.

    Args:
        classes (Sequence[str]): Class names, by label.
        palette (Any): Colours, by label, or 'random'.
        score_thr (float): Draw detections from this score on.
    """

    def __init__(self, classes: Sequence[str], palette: Any, score_thr: float) -> None:
        self.visualizer = DetLocalVisualizer()
        self.visualizer.dataset_meta = {'classes': classes, 'palette': palette}
        self.score_thr = score_thr

    def draw(self, image: np.ndarray, detections: Sequence[dict]) -> np.ndarray:
        """Return a copy of a BGR image with its detections (COCO results) on it."""
        boxes = torch.tensor([d['bbox'] for d in detections]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]  # xywh -> xyxy
        found = InstanceData(
            bboxes=boxes,
            scores=torch.tensor([d['score'] for d in detections]),
            labels=torch.tensor([d['category_id'] - 1 for d in detections]).long(),
        )
        if detections and 'segmentation' in detections[0]:
            masks = [coco_mask.decode(d['segmentation']) for d in detections]
            found.masks = torch.from_numpy(np.stack(masks)).bool()
        with warnings.catch_warnings():  # a box may touch the border
            warnings.filterwarnings('ignore', '.*out of bounds')
            self.visualizer.add_datasample(
                'picture',
                mmcv.bgr2rgb(image),
                DetDataSample(pred_instances=found),
                draw_gt=False,
                pred_score_thr=self.score_thr,
            )
        return mmcv.rgb2bgr(self.visualizer.get_image())


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a BGR picture, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = '.jpg' if path.suffix.lower() == '.jfif' else path.suffix  # another name
    path.write_bytes(cv2.imencode(kind, picture)[1].tobytes())


def write_video(
    path: Path, source: Video, journal: Journal, painter: DetectionPainter
) -> None:
    """Write the frames of a video with their detections to an MP4 file.

    Args:
        path (Path): The file.
        source (Video): The frames; one that can't be decoded repeats the one before.
        journal (Journal): Their detections.
        painter (DetectionPainter): Draws them.
    """
    size = (source.reader.width, source.reader.height)
    stream = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*'mp4v'), source.fps, size
    )
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    for index in track_iter_progress(range(len(source))):
        with suppress(UnreadableImageError):
            entry = journal.entries.get(source.name(index), {'detections': []})
            picture = painter.draw(source.read(index), entry['detections'])
        stream.write(picture)
    stream.release()
    print()
