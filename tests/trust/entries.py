"""Every way by which a file of weights comes in, called in this process."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mmdet.apis import DetInferencer, init_detector
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from torch import nn

from mmfrcnn import Detector
from mmfrcnn.errors import UserError
from tests.end_to_end.tiny import run_here

Entry = Callable[[Path], str]
"""Reads a file and returns the message of its refusal, or '' if there was none."""


def tool(name: str, *arguments: object) -> str:
    """Run a tool; return its message, that of a mistake of the user."""
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(io.StringIO()):
        code = run_here(name, *arguments)
    text = printed.getvalue()
    assert 'Traceback' not in text
    messages = [x for x in text.splitlines() if x.startswith('error: ')]
    assert (code, len(messages)) in ((2, 1), (0, 0)), text
    return messages[0].removeprefix('error: ') if messages else ''


def python(function: Callable[..., object], *arguments: object, **named: object) -> str:
    """Call a function; return the message of the mistake of the user that it says."""
    try:
        function(*arguments, **named)
    except UserError as error:
        return str(error)
    return ''


def entries(folder: Path, config: Path, pretrained: Path) -> dict[str, Entry]:
    """Return the ways by name.

    Args:
        folder (Path): Where they may write.
        config (Path): A config with data that is there.
        pretrained (Path): One whose backbone is.
    """
    work = ('--work-dir', folder / 'work')
    image = next((config.parent / 'data/images').iterdir())
    read = Config.fromfile(config)

    def option(name: str, path: Path) -> str:
        used = pretrained if name.startswith('model.') else config
        return tool('train', used, *work, '--cfg-options', f'{name}={path}')

    def convert(source: str, path: Path) -> str:
        return tool('convert_weights', '--from', source, path, folder / 'out.pth')

    def build(path: Path) -> str:
        return python(init_detector, read, str(path), device='cpu')

    def inferencer(model: Path | None, path: Path) -> str:
        given = model and str(model)
        return python(DetInferencer, given, str(path), device='cpu')

    return {
        'test': lambda path: tool('test', config, path, *work),
        'resume': lambda path: tool('train', config, *work, '--resume', path),
        'load_from': partial(option, 'load_from'),
        'init_cfg': partial(option, 'model.backbone.init_cfg.checkpoint'),
        'predict': lambda path: tool(
            'predict', image, config, path, '--out-dir', folder / 'found'
        ),
        'replay': lambda path: tool('replay', path, '--device', 'cpu'),
        'replay, config': lambda path: tool('replay', path, '--config', config),
        'convert-weights, mmdet': partial(convert, 'mmdet'),
        'convert-weights, torchvision': partial(convert, 'torchvision'),
        'convert-weights, detectron2': partial(convert, 'detectron2'),
        'Detector': lambda path: python(Detector, path, 'cpu'),
        'Detector, config': lambda path: python(Detector, path, 'cpu', config=config),
        'DetInferencer': partial(inferencer, None),
        'DetInferencer, config': partial(inferencer, config),
        'init_detector': build,
        'load_checkpoint': lambda path: python(
            load_checkpoint, nn.Linear(1, 1), str(path)
        ),
    }
