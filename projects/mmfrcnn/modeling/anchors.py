"""The anchors of a feature pyramid, made once per shape, and which of them count.

Shapes: N images, A anchors a cell, S = sum over levels of A * H_l * W_l. The order is
mmdet's: level by level, then row, column, anchor.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from mmdet.models.task_modules import AnchorGenerator
from torch import Tensor

from mmfrcnn.errors import UserError
from mmfrcnn.structures.padded_instances import image_sizes

# Multi-scale training meets many shapes; an FPN grid of 800x1333 takes 5 MB.
GRIDS_KEPT = 32


@dataclass
class AnchorGrid:
    """All anchors of one set of feature map sizes.

    Attributes:
        boxes (Tensor): xyxy in input pixels, float32, shape (S, 4).
        cells (Tensor): Upper left corner (x, y) of each anchor's cell in input pixels,
            float32, shape (S, 2).
        ids (Tensor): A number for each (level, row, column, anchor) that is the same
            in grids of any size, int64 below 2**30, shape (S,).
        sizes (list[int]): Number of anchors in each level.
        reach (tuple[int, int]): Largest (y, x) of any cell's corner in input pixels.
    """

    boxes: Tensor
    cells: Tensor
    ids: Tensor
    sizes: list[int]
    reach: tuple[int, int]
    _fits: dict[tuple, bool] = field(default_factory=dict, repr=False)

    def valid(
        self, padded: Tensor | None, inside: Tensor | None, border: float
    ) -> Tensor | None:
        """Say which anchors of each image may be trained on.

        Args:
            padded (Tensor | None): (height, width) of each padded image, shape (N, 2):
                cells wholly beyond it do not count. None: all cells count.
            inside (Tensor | None): (height, width) of each image, shape (N, 2).
            border (float): Anchors reaching further than this many pixels across the
                image's border do not count (Ren et al. 2015, section 3.3); negative:
                all count.

        Returns:
            Tensor | None: bool, shape (N, S); None where every anchor counts.
        """
        mask = None
        if padded is not None:
            mask = (self.cells < padded.flip(-1)[:, None]).all(-1)
        if border >= 0 and inside is not None:
            limit = inside.flip(-1)[:, None] + border  # (N, 1, 2)
            within = (self.boxes[:, :2] >= -border).all(-1)
            within = within & (self.boxes[:, 2:] < limit).all(-1)
            mask = within if mask is None else mask & within
        return mask

    def any_inside(self, size: tuple[int, int], border: float) -> bool:
        """Say, on the host, whether an image has an anchor that may be trained on.

        Args:
            size (tuple[int, int]): (height, width) of the image.
            border (float): As in :meth:`valid`, not negative.

        Returns:
            bool: False where every anchor crosses the border.
        """
        key = *size, border
        if key not in self._fits:  # the anchors are looked at once a size
            boxes = self._on_host  # (S, 4)
            end = torch.tensor(size[::-1]) + border
            inside = (boxes[:, :2] >= -border) & (boxes[:, 2:] < end)
            self._fits[key] = bool(inside.all(1).any())
        return self._fits[key]

    @functools.cached_property
    def _on_host(self) -> Tensor:
        return self.boxes.cpu()  # waits for a device once a grid, not once a step


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


def trainable_anchors(
    grid: AnchorGrid, metas: Sequence[dict], border: float, device: torch.device
) -> Tensor | None:
    """Say which anchors of each image may be trained on.

    Args:
        grid (AnchorGrid): The anchors.
        metas (Sequence[dict]): With ``img_shape`` and ``pad_shape``.
        border (float): As in :meth:`AnchorGrid.valid`.
        device (torch.device): Where the result lives.

    Returns:
        Tensor | None: bool, shape (N, S); None where every anchor counts.

    Raises:
        UserError: If an image has none, as mmdet does.
    """
    padded = None
    y, x = grid.reach
    if any(h <= y or w <= x for h, w in (meta['pad_shape'][:2] for meta in metas)):
        padded = image_sizes(metas, device, 'pad_shape')
    inside = None
    if border >= 0:
        inside = image_sizes(metas, device)
        for meta in metas:
            if not grid.any_inside(tuple(meta['img_shape'][:2]), border):
                raise _no_anchor(meta, border)
    return grid.valid(padded, inside, border)


def _no_anchor(meta: dict, border: float) -> UserError:
    """Say what is wrong with an image that the RPN could never be trained on."""
    image = meta.get('img_path') or f'An image of {meta.get("ori_shape", "unknown")} px'
    return UserError(
        f'{image}: resized to {tuple(meta["img_shape"][:2])} px (height, width), no '
        f'anchor lies inside it (train_cfg.rpn.allowed_border={border}). Leave it out, '
        'train on larger images, give anchor_generator smaller scales, or set '
        'allowed_border=-1, which lets anchors cross the border.'
    )
