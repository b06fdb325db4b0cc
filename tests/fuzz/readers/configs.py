"""The config's text inside a checkpoint, and pickles and YAML of annotations."""

from __future__ import annotations

import pickle
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmfrcnn.compat.config_text import config_of_text, read_values
from mmfrcnn.data.stored_files import load_values
from mmfrcnn.errors import UserError
from mmfrcnn.weights.pickles import read_pickle
from tests.fuzz.reader import Reader, no_opinion
from tests.fuzz.texts import changed_bytes, changed_text, put
from tests.fuzz.trees import changed

REPO = Path(__file__).resolve().parents[3]


@cache
def _text() -> str:
    config = Config.fromfile(
        REPO / 'configs/faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
    )
    names = ('model', 'test_pipeline', 'test_dataloader', 'custom_imports')
    kept = {name: config[name] for name in names if name in config}
    return '\n'.join(
        f'{name} = {value!r}' for name, value in Config(kept).to_dict().items()
    )


def write_config(rng: Random, folder: Path) -> bool:
    """Write a config with changed values or text."""
    if rng.random() < 0.5:
        tree = changed(rng, read_values(_text()), rng.choice([1, 1, 2, 3]))
        lines = tree.items() if isinstance(tree, dict) else [('model', tree)]
        text = '\n'.join(f'{name} = {value!r}' for name, value in lines)
    else:
        text = changed_text(rng, _text(), rng.choice([1, 1, 2]))
    put(rng, folder / 'c.txt', text.encode('utf-8', 'surrogatepass'), is_whole=True)
    return False


def read_config(folder: Path) -> Any:
    """Read it as a detector does."""
    path = folder / 'c.txt'
    text = path.read_bytes().decode('utf-8', 'surrogatepass')
    config_of_text(text, str(path), 'Name a config')


# -- Pickles


@cache
def _pickled(protocol: int, instances: bool) -> bytes:
    array = np.arange(8, dtype=np.float32).reshape(2, 4)
    if instances:
        found = InstanceData(bboxes=array, scores=array[:, 0])
        return pickle.dumps({'a.png': found, 'b.png': [1, (2.5, 'x'), None]}, protocol)
    model = {'a.weight': array, 'b': np.float64(3), 'c': array.astype('>f8')}
    return pickle.dumps({'model': model, '__author__': 'x'}, protocol)


def write_pickle(rng: Random, folder: Path) -> bool:
    """Write a pickle."""
    content = _pickled(rng.choice([2, 3, 4, 5]), rng.random() < 0.5)
    put(rng, folder / 'x.pkl', changed_bytes(rng, content, rng.choice([1, 1, 2, 3])))
    return False


def read_pickles(folder: Path) -> Any:
    """Read it as annotations and as weights."""
    path = folder / 'x.pkl'
    if not path.is_file():
        raise UserError(f'{path}: not there')
    try:
        load_values(path)
    finally:
        read_pickle(str(path))


def prepare(folder: Path) -> None:
    """Need nothing beside the file."""


READERS = [
    Reader('config-text', prepare, write_config, read_config, no_opinion, 1),
    Reader('pickles', prepare, write_pickle, read_pickles, no_opinion, 2),
]
