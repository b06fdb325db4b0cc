"""The anchors of a feature pyramid, made once per shape.

Shapes: A anchors a cell, S = sum over levels of A * H_l * W_l. The order is mmdet's:
level by level, then row, column, anchor.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from mmdet.models.task_modules import AnchorGenerator

from mmfrcnn.errors import UserError
from mmfrcnn.structures.anchor_grid import AnchorGrid

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

    # A grid first needed under inference mode serves training afterwards as well.
    @torch.inference_mode(False)
    def _make(
        self, feature_sizes: list[tuple[int, int]], device: torch.device
    ) -> AnchorGrid:
        levels = self.generator.grid_priors(
            feature_sizes, dtype=torch.float32, device=device
        )
        cells, ids = [], []
        for level, ((height, width), (step_x, step_y), anchors) in enumerate(
            zip(
                feature_sizes,
                self.generator.strides,
                self.generator.num_base_priors,
                strict=True,
            )
        ):
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
            self._reach(feature_sizes),
        )

    def _reach(self, feature_sizes: list[tuple[int, int]]) -> tuple[int, int]:
        corners = [
            ((height - 1) * step_y, (width - 1) * step_x)
            for (height, width), (step_x, step_y) in zip(
                feature_sizes, self.generator.strides, strict=True
            )
        ]
        ys, xs = zip(*corners, strict=True)
        return max(ys), max(xs)


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
