"""An image that is gone, empty or cut off in the middle of a training."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mmengine.hooks import Hook

from tests.end_to_end.tiny import make_config
from tests.trust.entries import tool

SPOILS = {
    'there is no such file': Path.unlink,
    'it is empty': lambda path: os.truncate(path, 0),
    'it is cut off': lambda path: os.truncate(path, path.stat().st_size // 2),
}


class Spoil(Hook):
    """Spoils an image after the first step.

    Args:
        path (str): The image.
        how (str): A key of `SPOILS`.
    """

    def __init__(self, path: str, how: str) -> None:
        self.path, self.how = Path(path), how

    def after_train_iter(self, runner, *arguments, **named) -> None:
        if runner.iter == 0:
            SPOILS[self.how](self.path)


@pytest.mark.parametrize(
    ('how', 'workers'), [*((how, 0) for how in SPOILS), ('it is empty', 2)]
)
def test_a_spoiled_image_ends_a_training_in_one_line(how, workers, tmp_path):
    config = make_config(tmp_path)
    image = tmp_path / 'data/images/002.png'
    loader = config.read_text().replace('num_workers=0', f'num_workers={workers}')
    config.write_text(f"""{loader}
from tests.end_to_end.test_spoiled_images import Spoil
custom_hooks = [dict(type=Spoil, path='{image}', how='{how}')]
""")
    message = tool('train', config, '--work-dir', tmp_path / 'work')
    assert str(image) in message and how in message and '\n' not in message
    assert '--resume' in message
