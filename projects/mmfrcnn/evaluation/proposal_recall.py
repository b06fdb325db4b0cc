"""Average recall of proposals, class-agnostic, equal to pycocotools'.

mmdet's ``proposal_fast`` fails under numpy 2, and pairs boxes by another rule than
COCO's evaluator. Its ``proposal`` asks pycocotools itself, which visits each pair of
boxes in Python, once a threshold and size of object. This is pycocotools' rule, for
all thresholds at once and the proposals alone that overlap something.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS
from pycocotools import mask as coco_mask

from mmfrcnn.errors import UserError


@METRICS.register_module()
class ProposalRecall(CocoMetric):
    """AR at 100, 300 and 1000 proposals an image, over IoU .50 to .95 (COCO's AR).

    The share of objects, of any class, that the best proposals of their images find.
    Crowds and ignored objects don't count.

    Args:
        ann_file (str | None): COCO annotations; None: the ground truth that the data
            samples carry as ``instances``.
        proposal_nums (Sequence[int]): Numbers of proposals an image.
        iou_thrs (Sequence[float] | None): Thresholds to average over; None: COCO's ten.
        prefix (str | None): Before each name, as ``coco/AR@100``.
        collect_device (str): ``cpu`` or ``gpu``.
    """

    def __init__(
        self,
        ann_file: str | None = None,
        proposal_nums: Sequence[int] = (100, 300, 1000),
        iou_thrs: Sequence[float] | None = None,
        prefix: str | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(
            ann_file=ann_file,
            metric='proposal_fast',
            proposal_nums=proposal_nums,
            iou_thrs=iou_thrs,
            prefix=prefix,
            collect_device=collect_device,
        )

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep the proposals of a batch.

        Raises:
            UserError: If they are detections, which have classes.
        """
        if any(bool(one['pred_instances']['labels'].any()) for one in data_samples):
            raise UserError(
                'ProposalRecall is the recall of an RPN alone, and these are the '
                'detections of several classes. The recall of the proposals within a '
                'detector of two stages is in the ledger that tools/test.py writes'
            )
        super().process(data_batch, data_samples)

    def fast_eval_recall(
        self,
        results: list[dict],
        proposal_nums: Sequence[int],
        iou_thrs: Sequence[float],
        logger: Any = None,
    ) -> np.ndarray:
        """Stand for mmdet's method of this name.

        Args:
            results (list[dict]): ``img_id``, ``bboxes`` (P, 4) xyxy and ``scores`` (P,)
                of each image.
            proposal_nums (Sequence[int]): Numbers of proposals.
            iou_thrs (Sequence[float]): Thresholds.
            logger (Any): Not used.

        Returns:
            np.ndarray: One average recall for each number of proposals; -1 where there
            is no object at all, as in pycocotools.
        """
        coco, thresholds = self._coco_api, np.asarray(iou_thrs)
        of_image = {result['img_id']: result for result in results}
        found = []
        for img_id in self.img_ids:
            gt = coco.load_anns(
                coco.get_ann_ids(img_ids=[img_id], cat_ids=self.cat_ids)
            )
            gt = [
                one['bbox']
                for one in gt
                if not one.get('iscrowd') and not one.get('ignore')
            ]
            result = of_image.get(img_id, dict(bboxes=np.zeros((0, 4)), scores=()))
            order = np.argsort(-np.asarray(result['scores']), kind='mergesort')
            boxes = result['bboxes'][order[: max(proposal_nums)]]
            found.append(first_hits(np.array(gt), boxes, thresholds))
        ranks = np.concatenate(found, 1)  # (T, objects of all images)
        if not ranks.size:
            return np.full(len(proposal_nums), -1.0)
        return np.array([(ranks < number).mean() for number in proposal_nums])


def first_hits(gt: np.ndarray, boxes: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return which proposal finds each object, by the rule of COCO's evaluator.

    Proposals choose in order, each the object it overlaps most among those that are
    free and overlapped enough.

    Args:
        gt (np.ndarray): Objects, (x, y, width, height), shape (G, 4).
        boxes (np.ndarray): Proposals, xyxy, best first, shape (P, 4).
        thresholds (np.ndarray): IoU thresholds, shape (T,).

    Returns:
        np.ndarray: Rank of the proposal, infinite where none is, shape (T, G).
    """
    ranks = np.full((len(thresholds), len(gt)), np.inf)
    if not len(gt) or not len(boxes):
        return ranks
    given = np.array(boxes, np.float64)
    given[:, 2:] -= given[:, :2]
    gt = np.asarray(gt, np.float64)
    overlaps = coco_mask.iou(given, gt, [0] * len(gt))  # (P, G)
    least = np.minimum(thresholds, 1 - 1e-10)[:, None]  # (T, 1)
    for rank in np.flatnonzero(overlaps.max(1) >= least.min()):
        free = np.isinf(ranks) & (overlaps[rank] >= least)
        # Of equals the last, as there.
        best = np.where(free, overlaps[rank], -1)[:, ::-1].argmax(1)
        best = len(gt) - 1 - best
        rows = np.flatnonzero(free.any(1))
        ranks[rows, best[rows]] = rank
    return ranks
