"""ResNets of few blocks a stage: the others are like them, and take as long."""

from __future__ import annotations

import mmfrcnn  # before mmdet, which it makes importable

# isort: split
import pytest
from mmdet.models.backbones import ResNet, ResNeXt

assert mmfrcnn


def shorten_resnets(patch: pytest.MonkeyPatch, blocks: int = 2) -> None:
    """Give every ResNet, and what is made of a stage of one, few blocks a stage.

    With two there are blocks of all kinds; with one, as well if they are a ResNet-18's.
    """
    for kind in (ResNet, ResNeXt):
        settings = {
            depth: (block, (blocks,) * 4)
            for depth, (block, _) in kind.arch_settings.items()
        }
        patch.setattr(kind, 'arch_settings', settings)
