"""An image of which no loss is finite: a step of a pipeline, for configs of tests."""

from __future__ import annotations

import os

import numpy as np
from mmdet.registry import TRANSFORMS


@TRANSFORMS.register_module()
class InfinitePixel:
    """Makes a pixel of one image infinite, on its ``first`` to ``last`` way through.

    Args:
        name (str): How the image's file is called.
        first (int): From which time on that it is asked for, counted from 1.
        last (int): Until which.
        rank (int): Of the process that sees it so.
    """

    seen = 0  # in this process, by any pipeline

    def __init__(self, name: str, first: int, last: int, rank: int = 0) -> None:
        self.name, self.first, self.last, self.rank = name, first, last, rank

    def __call__(self, results: dict) -> dict:
        if not results['img_path'].endswith(self.name):
            return results
        if int(os.environ.get('RANK', 0)) != self.rank:
            return results
        type(self).seen += 1
        if self.first <= self.seen <= self.last:
            results['img'] = results['img'].astype(np.float32)
            results['img'][5, 7, 1] = np.inf
        return results
