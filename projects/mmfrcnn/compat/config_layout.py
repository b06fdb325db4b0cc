"""The text of a config, laid out once.

mmengine lays it out with yapf, which takes a third of a second for a detector's config,
and it wants it five times when a run starts and again for each checkpoint. The layout
depends on nothing but the text, so it is remembered.
"""

from __future__ import annotations

import functools
from typing import Any

from mmengine.config import config

# A run has one config, and a tool that compares has a few.
TEXTS_KEPT = 16


def install() -> None:
    """Remember what mmengine's yapf has laid out; calling it again changes nothing."""
    if not isinstance(config.FormatCode, _Remembered):
        config.FormatCode = _Remembered(config.FormatCode)


class _Remembered:
    """yapf's ``FormatCode``, which remembers the last texts."""

    def __init__(self, format_code: Any) -> None:
        @functools.lru_cache(TEXTS_KEPT)
        def remembered(text: str, style: tuple, more: tuple) -> Any:
            return format_code(text, style_config=dict(style), **dict(more))

        self._remembered = remembered

    def __call__(self, text: str, style_config: dict, **more: Any) -> Any:
        style = tuple(style_config.items())
        return self._remembered(text, style, tuple(more.items()))
