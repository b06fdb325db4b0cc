"""Pascal VOC's average precision by the rules of the devkit, in exact arithmetic.

Written from the description in the devkit's documentation (Everingham et al., section
"Evaluation" of the VOC2007 and VOC2012 development kits) one object and detection at a
time, in fractions, sharing nothing with mmdet. Corners count from pixel 1 and include
the last pixel, so a box is ``xmax - xmin + 1`` wide.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

Corners = tuple[float, float, float, float]


@dataclass
class Truth:
    """One annotated object."""

    image: str
    name: str
    corners: Corners
    difficult: bool = False


@dataclass
class Detection:
    """One detected object."""

    image: str
    name: str
    corners: Corners
    score: float


def overlap(one: Corners, other: Corners) -> Fraction:
    """Intersection over union of two boxes, in whole pixels as VOC counts them."""
    a, b = [Fraction(v) for v in one], [Fraction(v) for v in other]
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return Fraction(0)
    area = [(c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b)]
    return width * height / (sum(area) - width * height)


def precision_and_recall(
    gts: list[Truth], detections: list[Detection], name: str, threshold: Fraction
) -> list[tuple[Fraction, Fraction]]:
    """Return (recall, precision) after each detection of a class, best first.

    A detection belongs to the object that it overlaps most, even where another
    detection has taken it. Where that object is difficult, the detection counts neither
    way; where it is taken, the detection is false.
    """
    mine = [gt for gt in gts if gt.name == name]
    count = sum(not gt.difficult for gt in mine)
    places: dict[str, list[int]] = {}
    for index, gt in enumerate(mine):
        places.setdefault(gt.image, []).append(index)
    taken: set[int] = set()
    right = wrong = 0
    curve = []
    ranked = [found for found in detections if found.name == name]
    for found in sorted(ranked, key=lambda found: -found.score):
        best, where = Fraction(-1), -1
        for index in places.get(found.image, ()):
            value = overlap(found.corners, mine[index].corners)
            if value > best:
                best, where = value, index
        if best < threshold:
            wrong += 1
        elif not mine[where].difficult:
            if where in taken:
                wrong += 1
            else:
                right += 1
                taken.add(where)
        if right + wrong:
            curve.append((Fraction(right, count or 1), Fraction(right, right + wrong)))
    return curve


def eleven_points(curve: list[tuple[Fraction, Fraction]]) -> Fraction:
    """VOC2007: mean of the best precision at recall 0, 0.1, ... 1 or more."""
    best = [
        max((p for r, p in curve if r >= Fraction(point, 10)), default=Fraction(0))
        for point in range(11)
    ]
    return sum(best, Fraction(0)) / 11


def area(curve: list[tuple[Fraction, Fraction]]) -> Fraction:
    """VOC2010 and later: area under the curve of falling precision."""
    total, best, above = Fraction(0), Fraction(0), None
    for recall, precision in reversed(curve):  # recall falls
        if above is not None:
            total += (above - recall) * best
        best, above = max(best, precision), recall
    return total + (above or 0) * best


def mean_average_precision(
    gts: list[Truth],
    detections: list[Detection],
    names: list[str],
    *,
    points: bool,
    threshold: Fraction = Fraction(1, 2),
) -> float:
    """Mean over the classes that have an object which is not difficult."""
    values = []
    for name in names:
        if any(gt.name == name and not gt.difficult for gt in gts):
            curve = precision_and_recall(gts, detections, name, threshold)
            values.append(eleven_points(curve) if points else area(curve))
    return float(sum(values, Fraction(0)) / len(values)) if values else 0.0
