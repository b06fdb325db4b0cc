"""The anchors of a feature pyramid, made once per shape.

Shapes: A anchors a cell, S = sum over levels of A * H_l * W_l. The order is mmdet's:
level by level, then row, column, anchor.
"""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict

import numpy as np
import torch
from mmdet.models.task_modules import AnchorGenerator

from mmfrcnn.errors import UserError
from mmfrcnn.structures.anchor_grid import AnchorGrid, reach, spans
from mmfrcnn.structures.transfer import to_device

# Multi-scale training meets many shapes; an FPN grid of 800x1333 takes 5 MB.
GRIDS_KEPT = 32


class AnchorGridCache:
    """Grids by feature map sizes and device, the least recently used dropped first.

    Args:
        generator (AnchorGenerator): mmdet's anchor generator.
    """

    def __init__(self, generator: AnchorGenerator) -> None:
        self.generator = generator
        self._grids: OrderedDict[tuple, AnchorGrid] = OrderedDict()
        self._generators: dict[torch.device, AnchorGenerator] = {}

    def __call__(
        self, feature_sizes: list[tuple[int, int]], device: torch.device
    ) -> AnchorGrid:
        """Return the grid for feature maps of these (height, width) on a device."""
        key = (tuple(map(tuple, feature_sizes)), device)
        if key not in self._grids:
            self._grids[key] = self._make(feature_sizes, device)
            if len(self._grids) > GRIDS_KEPT:
                self._grids.popitem(last=False)
        self._grids.move_to_end(key)
        return self._grids[key]

    @property
    def latest(self) -> AnchorGrid:
        """The grid that was asked for last."""
        return next(reversed(self._grids.values()))

    # A grid first needed under inference mode serves training afterwards as well.
    @torch.inference_mode(False)
    def _make(
        self, feature_sizes: list[tuple[int, int]], device: torch.device
    ) -> AnchorGrid:
        levels = self._generator_on(device).grid_priors(
            feature_sizes, dtype=torch.float32, device=device
        )
        cells, ids, columns, rows = [], [], [], []
        for level, ((height, width), (step_x, step_y), base) in enumerate(
            zip(feature_sizes, self.generator.strides, self._bases, strict=True)
        ):
            anchors = len(base)
            columns.append(spans(base[:, 0::2], width, step_x))
            rows.append(spans(base[:, 1::2], height, step_y))
            ys = torch.arange(height, device=device)
            xs = torch.arange(width, device=device)
            row, column = torch.meshgrid(ys, xs, indexing='ij')  # (H, W)
            corner = torch.stack([column * float(step_x), row * float(step_y)], -1)
            cells.append(corner.view(-1, 1, 2).expand(-1, anchors, -1).reshape(-1, 2))
            place = ((level << 12) + row.reshape(-1, 1) << 12) + column.reshape(-1, 1)
            anchor = torch.arange(anchors, device=device)
            ids.append((place * anchors + anchor).view(-1) & (1 << 30) - 1)
        return AnchorGrid(
            torch.cat(levels),
            torch.cat(cells),
            torch.cat(ids),
            [len(anchors) for anchors in levels],
            reach(feature_sizes, self.generator.strides),
            columns,
            rows,
        )

    @functools.cached_property
    def _bases(self) -> list[np.ndarray]:
        """Anchors of each level's first cell, xyxy, float32, shape (A, 4)."""
        return [base.numpy() for base in self.generator.base_anchors]

    def _generator_on(self, device: torch.device) -> AnchorGenerator:
        """Return the generator for a device: mmdet's copies its anchors at each use."""
        if device not in self._generators:
            names = {str(level): base for level, base in enumerate(self._bases)}
            generator = copy.copy(self.generator)
            generator.base_anchors = list(to_device(names, device).values())
            self._generators[device] = generator
        return self._generators[device]


def anchors_a_cell(generator: AnchorGenerator) -> int:
    """Return A, which a head that shares its layers wants equal on all levels.

    Raises:
        UserError: If it is not.
    """
    anchors = set(generator.num_base_priors)
    if len(anchors) != 1:
        raise UserError(
            'RegionProposalHead shares its convolutions between levels: '
            f'anchor_generator must give every level as many anchors, not {anchors}.'
        )
    return anchors.pop()
