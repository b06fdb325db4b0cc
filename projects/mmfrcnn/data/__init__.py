"""Data sets, their transforms, and the checks that every run begins with."""

from mmfrcnn.data import stored_files
from mmfrcnn.data.checks.preflight import PreflightHook
from mmfrcnn.data.formats.coco import regular
from mmfrcnn.data.formats.coco.dataset import CocoJsonDataset
from mmfrcnn.data.formats.csv_table import CsvDataset
from mmfrcnn.data.formats.label_studio import LabelStudioDataset
from mmfrcnn.data.formats.labelme import LabelMeDataset
from mmfrcnn.data.formats.voc import VocXmlDataset
from mmfrcnn.data.formats.yolo.dataset import YoloDataset
from mmfrcnn.data.shapes.dataset import ShapesDataset
from mmfrcnn.data.transforms import load_image
from mmfrcnn.data.transforms.load_proposals import LoadStoredProposals
from mmfrcnn.data.transforms.rotation import TightRotate
from mmfrcnn.data.transforms.tiles import CutTiles

regular.install()
stored_files.install()
load_image.install()

__all__ = [
    'CocoJsonDataset',
    'CsvDataset',
    'CutTiles',
    'LabelMeDataset',
    'LabelStudioDataset',
    'LoadStoredProposals',
    'PreflightHook',
    'ShapesDataset',
    'TightRotate',
    'VocXmlDataset',
    'YoloDataset',
]
