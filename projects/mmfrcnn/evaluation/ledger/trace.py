"""What both stages of a detector made of a batch, seen without changing it.

Forward hooks see what the RPN and the box heads return, and the proposals are taken as
they pass on to the second stage. It serves our heads and mmdet's own, a cascade too.
After the proposals of a batch its objects are shown to the second stage, by the same
method, maps and precision: what it would make of perfect proposals.

Shapes: L levels, S anchors over all levels, P proposals and G objects of an image, C
classes, K choices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.task_modules import AnchorGenerator
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmfrcnn.modeling.anchors import AnchorGridCache
from mmfrcnn.modeling.box_stage import deltas_of
from mmfrcnn.ops.rows import flatten_levels


@dataclass(frozen=True, eq=False)
class FirstStage:
    """What the RPN saw in an image.

    Attributes:
        head (Any): The RPN head.
        cells (list[np.ndarray]): Columns and rows of each level, int, (1, 2) each.
        anchors (Tensor): xyxy in input pixels, shape (S, 4).
        level_sizes (list[int]): Anchors in each level, sum S.
        logits (Tensor): Objectness before the sigmoid, float32, shape (S,).
        deltas (Tensor): float32, shape (S, 4).
    """

    head: Any
    cells: list[np.ndarray]
    anchors: Tensor
    level_sizes: list[int]
    logits: Tensor
    deltas: Tensor

    def boxes(self, size: Sequence[int]) -> Tensor:
        """Return each anchor moved by its deltas, within the image, (S, 4).

        Args:
            size (Sequence[int]): (height, width) of the image, in input pixels.
        """
        return _within(self.head.bbox_coder.decode(self.anchors, self.deltas), size)


@dataclass(frozen=True, eq=False)
class SecondStage:
    """What the box head made of an image's proposals; on the host.

    Attributes:
        head (BBoxHead): The head, of a cascade the last.
        regions (Tensor): What its deltas move, xyxy in input pixels, shape (P, 4).
        scores (Tensor): Probabilities, with a softmax the background's last, float32,
            shape (P, C + 1), else (P, C).
        deltas (Tensor): float32, shape (P, 4 C) or (P, 4).
    """

    head: BBoxHead
    regions: Tensor
    scores: Tensor
    deltas: Tensor

    def boxes_of(self, label: int, size: Sequence[int]) -> Tensor:
        """Return each region refined as one of a class, within the image, (P, 4).

        Args:
            label (int): The class.
            size (Sequence[int]): (height, width) of the image, in input pixels.
        """
        every = torch.arange(len(self.regions))
        return self.refined(every, torch.full_like(every, label), size)

    def refined(self, rows: Tensor, labels: Tensor, size: Sequence[int]) -> Tensor:
        """Return some regions, each refined as one of a class, within the image.

        Args:
            rows (Tensor): Which of the regions, int64, shape (K,).
            labels (Tensor): The class of each, int64, shape (K,).
            size (Sequence[int]): (height, width) of the image, in input pixels.

        Returns:
            Tensor: xyxy in input pixels, shape (K, 4).
        """
        deltas = deltas_of(self.deltas[rows], labels)
        return _within(self.head.bbox_coder.decode(self.regions[rows], deltas), size)


def _within(boxes: Tensor, size: Sequence[int]) -> Tensor:
    """Clip boxes (K, 4) to an image of (height, width)."""
    height, width = size[:2]
    limit = boxes.new_tensor([width, height, width, height])
    return torch.minimum(boxes.clamp(min=0), limit)


@dataclass(frozen=True, eq=False)
class ImageTrace:
    """What a detector made of one image.

    Attributes:
        first (FirstStage | None): None where the proposals were given.
        proposals (Tensor): Best first, xyxy in input pixels, on the host, (P, 4).
        objectness (Tensor): Of each, shape (P,).
        second (SecondStage): The box head.
        objects (SecondStage | None): Likewise, had the objects been the proposals, G
            regions; None where the second stage does not take them.
    """

    first: FirstStage | None
    proposals: Tensor
    objectness: Tensor
    second: SecondStage
    objects: SecondStage | None = None


@dataclass(eq=False)
class _Pass:
    """Regions on their way through the second stage.

    Attributes:
        proposals (Any): Of each image.
        ends_early (bool): Whether nothing is asked after the last box head.
        outputs (list[Any]): Of each box head.
        regions (Tensor | None): Of the last one, numbered by image, (R, 5).
    """

    proposals: Any
    ends_early: bool = False
    outputs: list[Any] = field(default_factory=list)
    regions: Tensor | None = None


class _SeenEnoughError(Exception):
    """Ends a pass after its last box head, before NMS and masks."""


class Tracer:
    """Watches a two-stage detector; :meth:`images` tells of the batch before.

    Args:
        model (nn.Module): The detector, which :meth:`fits`.
        objects_of (Callable): Tells the objects of a data sample, xyxy in input pixels,
            float32, shape (G, 4).
    """

    def __init__(
        self, model: Any, objects_of: Callable[[DetDataSample], Tensor]
    ) -> None:
        self._objects_of = objects_of
        self.rpn = getattr(model, 'rpn_head', None)
        self.roi_head = model.roi_head
        heads, extractors = model.roi_head.bbox_head, model.roi_head.bbox_roi_extractor
        self.heads = list(heads) if isinstance(heads, nn.ModuleList) else [heads]
        last = extractors[-1] if isinstance(extractors, nn.ModuleList) else extractors
        self._flat: tuple[Any, ...] = ()
        self._seen = _Pass(())
        self._shown: _Pass | None = None
        self._maps: Any = None
        self._handles = [
            *(head.register_forward_hook(self._saw_head) for head in self.heads),
            last.register_forward_hook(self._saw_regions),
        ]
        if self.rpn is not None:
            self._grids = AnchorGridCache(self.rpn.prior_generator)
            self._handles.append(self.rpn.register_forward_hook(self._saw_maps))
        self._predict = self.roi_head.predict
        self.roi_head.predict = self._saw_proposals

    @staticmethod
    def fits(model: Any) -> bool:
        """Whether a model has two stages as they are described here.

        That is a grid of anchors, if there is an RPN, and box heads that classify, by a
        softmax or sigmoids, and move their regions.
        """
        roi_head, rpn = (
            getattr(model, name, None) for name in ('roi_head', 'rpn_head')
        )
        generator = getattr(rpn, 'prior_generator', None)
        if rpn is not None and not isinstance(generator, AnchorGenerator):
            return False
        heads = getattr(roi_head, 'bbox_head', None)
        if heads is None or not hasattr(roi_head, 'bbox_roi_extractor'):
            return False
        each = list(heads) if isinstance(heads, nn.ModuleList) else [heads]
        return all(
            isinstance(one, BBoxHead)
            and one.with_cls
            and one.with_reg
            and not getattr(one, 'custom_activation', False)
            for one in each
        )

    def close(self) -> None:
        """Let the detector go on unseen."""
        for handle in self._handles:
            handle.remove()
        del self.roi_head.predict  # of this instance: its class's is there again

    def images(self) -> list[ImageTrace]:
        """Return what was made of each image of the batch, once."""
        proposals: Any = self._seen.proposals
        seconds = self._second_stages(self._seen)
        objects: Sequence[SecondStage | None] = [None] * len(seconds)
        if self._shown is not None:
            objects = self._second_stages(self._shown)
        traces = [
            ImageTrace(
                self._first_stage(image),
                one.bboxes.float().cpu(),
                # Stored ones may have none; they are best first.
                one.get('scores', one.bboxes.new_zeros(len(one.bboxes))).float().cpu(),
                seconds[image],
                objects[image],
            )
            for image, one in enumerate(proposals)
        ]
        self._forget()
        return traces

    def _second_stages(self, seen: _Pass) -> list[SecondStage]:
        """Return what became of the proposals of each image."""
        head: Any = self.heads[-1]
        scores, deltas, rois = (part.cpu() for part in self._rows(seen))
        stages = []
        for image, one in enumerate(seen.proposals):
            # In fixed slots, the first ones are filled.
            rows = (rois[:, 0] == image).nonzero()[: len(one.bboxes), 0]
            stages.append(SecondStage(head, rois[rows, 1:], scores[rows], deltas[rows]))
        return stages

    def _rows(self, seen: _Pass) -> tuple[Tensor, Tensor, Tensor]:
        """Return scores, deltas and numbered regions of all images, a row a region."""
        head: Any = self.heads[-1]
        if not seen.outputs:  # mmdet's heads are not asked where nothing is proposed
            scores = torch.zeros(0, head.num_classes + 1)
            return scores, torch.zeros(0, 4), torch.zeros(0, 5)
        assert seen.regions is not None
        logits = torch.stack([one[0].float() for one in seen.outputs]).mean(0)
        if getattr(head.loss_cls, 'use_sigmoid', False):
            scores = logits[:, : head.num_classes].sigmoid()
        else:
            scores = F.softmax(logits, -1)
        return scores, seen.outputs[-1][1].float(), seen.regions.float()

    def _first_stage(self, image: int) -> FirstStage | None:
        if self._maps is None or self.rpn is None:
            return None
        if not self._flat:
            scores, deltas = self._maps
            channels = self.rpn.cls_out_channels
            sizes = [(one.shape[-2], one.shape[-1]) for one in scores]
            grid = self._grids(sizes, scores[0].device)
            flat = flatten_levels(scores, channels)  # (N, S, channels)
            logits = flat[..., 0] - flat[..., 1] if channels == 2 else flat[..., 0]
            self._flat = (
                [np.array([[width, height]]) for height, width in sizes],
                grid,
                logits,
                flatten_levels(deltas, self.rpn.bbox_coder.encode_size),
            )
        cells, grid, logits, deltas = self._flat
        return FirstStage(
            self.rpn, cells, grid.boxes, grid.sizes, logits[image], deltas[image]
        )

    def _forget(self) -> None:
        self._maps, self._flat = None, ()
        self._seen, self._shown = _Pass(()), None

    def _saw_maps(self, module: nn.Module, given: Any, outputs: Any) -> None:
        self._maps = outputs

    def _saw_proposals(
        self,
        x: Any,
        rpn_results_list: Any,
        batch_data_samples: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        # A new batch: what masks asked for in the one before is no matter.
        self._seen = seen = _Pass(rpn_results_list)
        rest = batch_data_samples, *args
        results = self._predict(x, rpn_results_list, *rest, **kwargs)
        self._shown = self._show_objects(x, *rest, **kwargs)
        self._seen = seen
        return results

    def _show_objects(
        self, x: Any, samples: Any, *args: Any, **kwargs: Any
    ) -> _Pass | None:
        """Give the second stage the objects for proposals; None if it refuses."""
        try:
            boxes = [self._objects_of(one).to(x[0].device) for one in samples]
            given = [
                InstanceData(bboxes=one, scores=torch.ones_like(one[:, 0]))
                for one in boxes
            ]
            self._seen = shown = _Pass(given, ends_early=True)
            if not any(len(one) for one in boxes):
                return shown
            self._predict(x, given, samples, *args, **kwargs)
        except _SeenEnoughError:
            return shown
        except Exception:  # a part of somebody's own: the test goes on without
            return None
        return None

    def _saw_regions(self, module: nn.Module, given: Any, outputs: Any) -> None:
        # A mask head may share what pools for the boxes: until those have their scores.
        if len(self._seen.outputs) < len(self.heads):
            self._seen.regions = given[1]

    def _saw_head(self, module: nn.Module, given: Any, outputs: Any) -> None:
        seen = self._seen
        seen.outputs.append(outputs)
        if seen.ends_early and len(seen.outputs) == len(self.heads):
            raise _SeenEnoughError
