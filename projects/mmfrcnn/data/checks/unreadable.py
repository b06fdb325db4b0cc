"""Which annotation file made a run stop before its data could be looked at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from mmdet.datasets import CocoDataset, XMLDataset
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmfrcnn.data.class_names import SPLITS, plain_configs
from mmfrcnn.data.formats.coco.read import read_coco
from mmfrcnn.data.formats.names import read_names
from mmfrcnn.data.formats.pictures import PictureDataset
from mmfrcnn.data.formats.voc import read_voc
from mmfrcnn.errors import UserError


def explain_data_error(config: Config, splits: Sequence[str] = SPLITS) -> None:
    """Look for what made a run stop while its data sets were being built.

    mmdet's readers stop at a broken annotation file with an error that doesn't name
    it; this reads the files again and names the first that is broken.

    Args:
        config (Config): The config of the run.
        splits (Sequence[str]): Those that it reads.

    Raises:
        UserError: If an annotation file that the config names is missing or broken.
    """
    init_default_scope(config.get('default_scope', 'mmdet'))
    for split in splits:
        loader = config.get(f'{split}_dataloader') or {}
        key = f'{split}_dataloader.dataset'
        for _, dataset in plain_configs(loader.get('dataset') or {}, key):
            if dataset.get('ann_file'):
                _read_again(dataset)


def _read_again(dataset: dict) -> None:
    kind = DATASETS.get(dataset['type'])
    root = dataset.get('data_root') or ''
    path = os.path.join(root, dataset['ann_file'])
    if isinstance(kind, type) and issubclass(kind, CocoDataset):
        read_coco(path)
    elif isinstance(kind, type) and issubclass(kind, XMLDataset):
        inside = (dataset.get('data_prefix') or {}).get('sub_data_root', '')
        folder = os.path.join(root, inside, dataset.get('ann_subdir', 'Annotations'))
        for name in read_names(path):
            file = Path(folder, f'{name}.xml')
            read_voc(file)
            if not issubclass(kind, PictureDataset):
                _check_encoding(file)


def _check_encoding(path: Path) -> None:
    """Refuse what `read_voc` has read and mmdet's reader, Expat alone, doesn't."""
    try:
        ElementTree.fromstring(path.read_bytes())
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise UserError(
            f"{path}: mmdet's XMLDataset does not read this encoding ({error}). "
            "Set type='VocXmlDataset', which does, or write the file in UTF-8"
        ) from error
