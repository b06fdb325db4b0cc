"""Fabricated data sets in both formats, and the real ones where they are there."""

from __future__ import annotations

import mmfrcnn  # noqa: F401  (before mmdet)

# isort: split
import json
from pathlib import Path

import pytest
from PIL import Image

REAL_DATA = Path(__file__).parents[3] / 'shared' / 'data'


@pytest.fixture
def real_data():
    """Return a function that gives a folder of real data or skips the test."""

    def find(name: str) -> Path:
        folder = REAL_DATA / name
        if not folder.exists():
            pytest.skip(f'needs the real data in {folder}')
        return folder

    return find


@pytest.fixture
def make_coco(tmp_path):
    """Return a function that writes a COCO data set of two 40x30 images."""

    def make(boxes=((1, 5, 5, 10, 10),), *, size=(40, 30), **extra) -> dict:
        for number in (1, 2):
            Image.new('RGB', size).save(tmp_path / f'{number}.jpg')
        annotations = [
            {
                'id': index,
                'image_id': 1,
                'category_id': category,
                'bbox': list(bbox),
                'area': bbox[2] * bbox[3],
                'iscrowd': 0,
                **extra,
            }
            for index, (category, *bbox) in enumerate(boxes, 1)
        ]
        content = {
            'images': [
                {'id': n, 'file_name': f'{n}.jpg', 'width': 40, 'height': 30}
                for n in (1, 2)
            ],
            'categories': [{'id': 1, 'name': 'Cat'}, {'id': 2, 'name': 'Dog'}],
            'annotations': annotations,
        }
        path = tmp_path / 'instances.json'
        path.write_text(json.dumps(content))
        return {
            'ann_file': str(path),
            'data_prefix': {'img': str(tmp_path)},
            'metainfo': {'classes': ('Cat', 'Dog')},
            'pipeline': [],
        }

    return make


@pytest.fixture
def make_voc(tmp_path):
    """Return a function that writes a VOC data set of one 40x30 image."""

    def make(objects=(('Cat', 1, 1, 40, 30),), *, classes=('Cat', 'Dog')) -> dict:
        for folder in ('JPEGImages', 'Annotations'):
            (tmp_path / folder).mkdir(exist_ok=True)
        Image.new('RGB', (40, 30)).save(tmp_path / 'JPEGImages' / 'a.jpg')
        keys = ('xmin', 'ymin', 'xmax', 'ymax')
        parts = [
            f'<object><name>{name}</name><bndbox>'
            + ''.join(f'<{k}>{v}</{k}>' for k, v in zip(keys, sides, strict=True))
            + '</bndbox></object>'
            for name, *sides in objects
        ]
        size = '<size><width>40</width><height>30</height></size>'
        xml = f'<annotation>{size}{"".join(parts)}</annotation>'
        (tmp_path / 'Annotations' / 'a.xml').write_text(xml)
        (tmp_path / 'list.txt').write_text('a\n')
        return {
            'data_root': str(tmp_path),
            'ann_file': 'list.txt',
            'data_prefix': {'sub_data_root': ''},
            'metainfo': {'classes': classes},
            'pipeline': [],
        }

    return make
