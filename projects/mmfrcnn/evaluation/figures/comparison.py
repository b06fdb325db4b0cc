"""Whether one run is better than another, on the same images."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmfrcnn.errors import UserError, first_of
from mmfrcnn.evaluation.figures.average_precision import MEANS, AveragePrecision
from mmfrcnn.evaluation.figures.bootstrap import SAMPLES, centred, interval, resampled
from mmfrcnn.evaluation.figures.ranking import image_places
from mmfrcnn.evaluation.ledger.columns import Columns


def compare(
    a: Columns, b: Columns, seed: int = 0, samples: int = SAMPLES
) -> dict[str, Any]:
    """Compare two runs by drawing images anew, for both the same ones.

    Args:
        a (Columns): A run.
        b (Columns): Another, of the same images, objects and classes.
        seed (int): Of the draws.
        samples (int): How often to draw.

    Returns:
        dict: For each of ``AP``, ``AP50``, ``AP75`` and ``AR``: ``a``, ``b``, their
        ``difference`` b - a, ``low`` and ``high`` of its 95% interval, and ``better``,
        the share of the draws in which b is better; None where there is nothing to
        compare. ``images``, ``samples``, and a ``sentence`` on AP.

    Raises:
        UserError: If images, objects or classes differ.
    """
    _must_be_of_the_same(a, b)
    runs = [AveragePrecision(a), AveragePrecision(b)]
    images = runs[0].images
    whole = np.array([run.means(np.ones(images, np.int64)) for run in runs])  # (2, 4)
    drawn = resampled(runs, seed, samples)  # (samples, 2, 4)
    results: dict[str, Any] = {
        name: _compared(whole[:, place], drawn[:, :, place], images)
        for place, name in enumerate(MEANS)
    }
    return {
        'images': images,
        'samples': samples,
        **results,
        'sentence': _sentence(results['AP']),
    }


def _compared(
    whole: np.ndarray, drawn: np.ndarray, images: int
) -> dict[str, float | None]:
    """Compare one figure of both (2,), by its values in each draw, (samples, 2)."""
    a, b = whole
    if np.isnan(a):
        names = ('a', 'b', 'difference', 'low', 'high', 'better')
        return dict.fromkeys(names)
    gain = centred(drawn[:, 1] - drawn[:, 0], b - a)
    bounds = interval(gain, images)
    better = None
    if bounds['low'] is not None:
        better = float((gain[~np.isnan(gain)] > 0).mean())
    return {
        'a': float(a),
        'b': float(b),
        'difference': float(b - a),
        **bounds,
        'better': better,
    }


def _sentence(result: dict[str, float | None]) -> str:
    """Say what the interval shows."""
    gain, low, high = (result[name] for name in ('difference', 'low', 'high'))
    if gain is None:
        return 'There is nothing to compare: the images have no objects.'
    if low is None or high is None:
        return f'B - A is {gain:+.3f} AP; of one image, there is no interval.'
    if low <= 0 <= high:
        return (
            f'No difference is shown: B - A is {gain:+.3f} AP '
            f'(95% interval {low:+.3f} to {high:+.3f}).'
        )
    better, worse = 'BA' if low > 0 else 'AB'
    low, high = sorted([abs(low), abs(high)])
    return (
        f'{better} is better than {worse} by {abs(gain):.3f} AP '
        f'(95% interval {low:.3f} to {high:.3f}).'
    )


def _must_be_of_the_same(a: Columns, b: Columns) -> None:
    """Refuse runs that were not made on the same images, objects and classes."""
    for what, ours, others in (
        ('classes', a.classes, b.classes),
        ('images', a.image_id, b.image_id),
    ):
        only_a, only_b = np.setdiff1d(ours, others), np.setdiff1d(others, ours)
        if len(only_a) or len(only_b):
            raise UserError(
                f'A and B cannot be compared, their {what} differ: only in A: '
                f'{first_of(only_a.tolist()) or "none"}; only in B: '
                f'{first_of(only_b.tolist()) or "none"}. Test both on the same data'
            )
    if a.classes.tolist() != b.classes.tolist():
        raise UserError(
            'A and B cannot be compared: they have the same classes in another order. '
            'Test both with the same data config'
        )
    ours, others = _objects(a), _objects(b)
    if np.array_equal(ours, others):
        return
    same = min(len(ours), len(others))
    differ = np.append((ours[:same] != others[:same]).any(1), True)
    first = differ.argmax()
    place = min(rows[first, 0] for rows in (ours, others) if first < len(rows))
    name = a.image_id[image_places(a.image_id) == place][0]
    raise UserError(
        f'A and B cannot be compared: the objects of image {name} differ ({len(ours)} '
        f'in all in A, {len(others)} in B). Test both with the same annotations'
    )


def _objects(columns: Columns) -> np.ndarray:
    """Return place of the image, class and box of the objects, sorted, (G, 6)."""
    places = image_places(columns.image_id)[columns.object_image]
    rows = np.column_stack([places, columns.object_label, columns.object_box])
    return rows[np.lexsort(rows.T[::-1])]
