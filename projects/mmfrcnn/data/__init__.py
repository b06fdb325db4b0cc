"""Data sets, their transforms, and the checks that every run begins with."""

from mmfrcnn.data.checks.preflight import PreflightHook
from mmfrcnn.data.formats import coco_file
from mmfrcnn.data.formats.csv_table import CsvDataset
from mmfrcnn.data.formats.voc_xml import VocXmlDataset
from mmfrcnn.data.formats.yolo import YoloDataset
from mmfrcnn.data.shapes.dataset import ShapesDataset
from mmfrcnn.data.transforms.load_proposals import LoadStoredProposals
from mmfrcnn.data.transforms.rotation import TightRotate

coco_file.install()

__all__ = [
    'CsvDataset',
    'LoadStoredProposals',
    'PreflightHook',
    'ShapesDataset',
    'TightRotate',
    'VocXmlDataset',
    'YoloDataset',
]
