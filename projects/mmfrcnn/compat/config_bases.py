"""``mmfrcnn::`` before a config's name: the config that came with the package.

mmengine reads ``mmdet::faster_rcnn/...`` from what mmdet has installed. It knows the
packages of OpenMMLab by a list alone, and takes a package's name for the scope of its
registries, noted as ``_scope_``; ours are mmdet's, so that is the scope noted here.
"""

from __future__ import annotations

import functools
from pathlib import Path

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE

PREFIX = 'mmfrcnn::'
SCOPE = 'mmdet'
FOLDER = Path(__file__).parents[1] / '.mim' / 'configs'


def shipped_configs() -> list[str]:
    """Return the names of the configs that can be run, ``mmfrcnn::`` before each."""
    paths = sorted(FOLDER.glob('[!_]*/*.py'))
    return [f'{PREFIX}{path.relative_to(FOLDER).as_posix()}' for path in paths]


def config_path(name: str) -> str:
    """Return the file of a config that is named with ``mmfrcnn::``, others unchanged.

    Example:
        >>> config_path('mmfrcnn::rpn/rpn_r50_fpn_1x_coco.py') == str(
        ...     FOLDER / 'rpn' / 'rpn_r50_fpn_1x_coco.py'
        ... )
        True
        >>> config_path('configs/mine.py')
        'configs/mine.py'
    """
    if name.startswith(PREFIX):
        return str(FOLDER / name.removeprefix(PREFIX))
    return name


def install() -> None:
    """Have mmengine know the package, and our scope; again, this changes nothing."""
    MODULE2PACKAGE.setdefault('mmfrcnn', 'mmfrcnn')
    original = Config._get_cfg_path
    if hasattr(original, '__wrapped__'):
        return

    @functools.wraps(original)
    def _get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        if cfg_path.startswith(PREFIX):
            return config_path(cfg_path), SCOPE
        return original(cfg_path, filename)

    Config._get_cfg_path = staticmethod(_get_cfg_path)
