"""All figures of an evaluation, for a report."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmfrcnn.evaluation.figures.average_precision import MEANS, AveragePrecision
from mmfrcnn.evaluation.figures.bootstrap import centred, interval, resampled
from mmfrcnn.evaluation.figures.calibration import calibration_of
from mmfrcnn.evaluation.figures.confusion import MOST_CLASSES, confusion_of
from mmfrcnn.evaluation.figures.operating_point import Curve, curves_of
from mmfrcnn.evaluation.figures.ranking import Ranking, row_of
from mmfrcnn.evaluation.figures.scores import scores_of
from mmfrcnn.evaluation.ledger.columns import Columns

MOST_CURVES = 100
"""Classes whose curves are given: those of most objects."""


def figures_of(columns: Columns, iou: float = 0.5, seed: int = 0) -> dict[str, Any]:
    """Compute what people expect to see of an evaluation.

    All values are plain, for JSON; None stands for what is not defined.
    Its keys:

    - ``iou``, ``images``, ``objects``, ``detections``.
    - ``mean``: ``AP``, ``AP50``, ``AP75`` and ``AR`` (of at most 100 detections an
      image) over the classes with objects, as pycocotools has them; ``interval``: of
      each of the four, ``low`` and ``high`` of 95%.
    - ``classes``: a row for each class with objects: ``name``, ``objects``,
      ``detections``, ``AP``, ``AP50``, ``AP75``, ``AR``; ``best_threshold``, the score
      from which on to keep detections for the best F1, and its ``precision``,
      ``recall`` and ``F1``.
    - ``curves``: ``all`` detections together, and ``classes``, those of most objects:
      ``name``, ``best`` (``threshold``, ``precision``, ``recall``, ``F1``), and lists
      of these four, by falling threshold.
    - ``confusion``: ``threshold`` (of the best F1 of all; None: no detection is right,
      and all are kept); for each of the ``names``, its objects ``detected`` and
      ``missed``, and its detections on the ``background``; ``largest``: ``object``,
      ``detection``, ``count``; and the ``matrix`` of objects by detections, the
      background last, None with more than 100 classes.
    - ``calibration`` and ``scores``: see
      :func:`~mmfrcnn.evaluation.figures.calibration.calibration_of` and
      :func:`~mmfrcnn.evaluation.figures.scores.scores_of`.

    Args:
        columns (Columns): The evaluation.
        iou (float): From which on a detection counts as right, in ``precision``,
            ``recall``, ``F1``, ``curves``, ``confusion`` and ``calibration``; one of
            COCO's thresholds.
        seed (int): Of the images drawn for the intervals.

    Returns:
        dict: The keys above.

    Raises:
        UserError: If the IoU is not one of the thresholds.
    """
    row = row_of(columns.thresholds, iou)
    objects = np.bincount(columns.object_label, minlength=len(columns.classes))
    curves = curves_of(Ranking.of(columns), row, objects)
    hits, total = columns.detection_hits[row], len(columns.object_label)
    everything = Curve.of(columns.detection_score, hits, total)
    precision = AveragePrecision(columns)
    return {
        'iou': iou,
        'images': len(columns.image_id),
        'objects': total,
        'detections': len(columns.detection_score),
        'mean': _mean(precision, seed),
        'classes': _rows(columns, precision, objects, curves),
        'curves': _curves(columns.classes, objects, curves, everything),
        'confusion': _confusion(columns, everything.best()['threshold'], iou),
        'calibration': calibration_of(columns.detection_score, hits),
        'scores': scores_of(columns),
    }


def _mean(precision: AveragePrecision, seed: int) -> dict[str, Any]:
    means = precision.means(np.ones(precision.images, np.int64))
    drawn = centred(resampled([precision], seed)[:, 0], means).clip(0, 1)
    return {
        **_plain(means),
        'interval': {
            name: interval(values, precision.images)
            for name, values in zip(MEANS, drawn.T, strict=True)
        },
    }


def _rows(
    columns: Columns,
    precision: AveragePrecision,
    objects: np.ndarray,
    curves: list[Curve],
) -> list[dict[str, Any]]:
    """Return a row for each class with objects."""
    detections = np.bincount(columns.detection_label, minlength=len(objects))
    figures = precision.of_classes()
    rows = []
    for label in np.flatnonzero(objects):
        best = curves[label].best()
        rows.append(
            {
                'name': str(columns.classes[label]),
                'objects': int(objects[label]),
                'detections': int(detections[label]),
                **_plain(figures[:, label]),
                'best_threshold': best.pop('threshold'),
                **best,
            }
        )
    return rows


def _plain(means: np.ndarray) -> dict[str, float | None]:
    return {
        name: None if np.isnan(value) else float(value)
        for name, value in zip(MEANS, means, strict=True)
    }


def _curves(
    classes: np.ndarray, objects: np.ndarray, curves: list[Curve], everything: Curve
) -> dict[str, Any]:
    most = np.argsort(-objects, kind='stable')[:MOST_CURVES]
    return {
        'all': {'best': everything.best(), **everything.drawn()},
        'classes': [
            {
                'name': str(classes[label]),
                'best': curves[label].best(),
                **curves[label].drawn(),
            }
            for label in most
            if objects[label]
        ],
    }


def _confusion(columns: Columns, threshold: float | None, iou: float) -> dict[str, Any]:
    confusion = confusion_of(columns, -np.inf if threshold is None else threshold, iou)
    few = len(columns.classes) <= MOST_CLASSES
    return {
        'threshold': threshold,
        'names': confusion.classes,
        **confusion.of_classes(),
        'largest': confusion.largest(),
        'matrix': confusion.dense().tolist() if few else None,
    }
