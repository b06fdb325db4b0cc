"""Data sets, and checks that no error in the data stays silent."""

from __future__ import annotations

from mmfrcnn.datasets import coco_file
from mmfrcnn.datasets.class_names import set_num_classes, settle_classes
from mmfrcnn.datasets.csv_table import CsvDataset
from mmfrcnn.datasets.load_proposals import LoadStoredProposals
from mmfrcnn.datasets.pictures import PictureDataset
from mmfrcnn.datasets.preflight import (
    PreflightHook,
    check_dataset,
    explain_data_error,
)
from mmfrcnn.datasets.rotation import TightRotate
from mmfrcnn.datasets.voc_xml import VocXmlDataset
from mmfrcnn.datasets.yolo import YoloDataset

coco_file.install()

__all__ = [
    'CsvDataset',
    'LoadStoredProposals',
    'PictureDataset',
    'PreflightHook',
    'TightRotate',
    'VocXmlDataset',
    'YoloDataset',
    'check_dataset',
    'explain_data_error',
    'set_num_classes',
    'settle_classes',
]
