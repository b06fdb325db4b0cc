"""A few pictures with COCO annotations: real ones where there are, and drawn ones."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from mmdet.datasets import CocoDataset

COCO = Path(__file__).resolve().parents[3] / 'shared/data/coco_tiny50'
CLASSES = CocoDataset.METAINFO['classes']
SIZES = ((120, 160), (160, 120), (96, 128))  # height, width


def draw(folder: Path) -> Path:
    """Write rectangles in noise, with boxes and polygons, as a COCO set.

    Every picture but the last has objects of the first classes, one has a crowd.
    """
    rng = np.random.default_rng(0)
    (folder / 'images').mkdir(parents=True)
    images, annotations = [], []
    for number, (height, width) in enumerate(SIZES, 1):
        picture = rng.integers(60, 140, (height, width, 3), dtype=np.uint8)
        images.append(
            dict(id=number, file_name=f'{number}.png', height=height, width=width)
        )
        for category in range(1, 4 if number < len(SIZES) else 1):
            w, h = (int(side) for side in rng.integers(20, 60, 2))
            x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
            colour = rng.integers(0, 255, 3).tolist()
            cv2.rectangle(picture, (x, y), (x + w, y + h), colour, -1)
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number,
                    category_id=category,
                    bbox=[x, y, w, h],
                    area=w * h,
                    iscrowd=int(number == 2 and category == 3),
                    segmentation=[[x, y, x + w, y, x + w, y + h, x, y + h]],
                )
            )
        cv2.imwrite(str(folder / 'images' / f'{number}.png'), picture)
    categories = [dict(id=i, name=name) for i, name in enumerate(CLASSES, 1)]
    contents = dict(images=images, annotations=annotations, categories=categories)
    (folder / 'instances.json').write_text(json.dumps(contents))
    return folder


def coco_leaf(source: Path, pipeline: list[dict], num_classes: int) -> dict:
    """Return a data set of the pictures, with the first classes of COCO."""
    real = source == COCO
    return dict(
        type='CocoDataset',
        data_root=str(source),
        ann_file='annotations/instances_train2017.json' if real else 'instances.json',
        data_prefix=dict(img='train2017/' if real else 'images/'),
        metainfo=dict(classes=CLASSES[:num_classes]),
        filter_cfg=dict(filter_empty_gt=False),
        serialize_data=False,
        pipeline=pipeline,
    )
