"""Coordinates as the decimal numbers that they are written as.

Added, subtracted and divided so, they are read back as the very boxes that were
written: VOC's are written with their fractions, YOLO's with up to 17 digits, and those
of more than twelve digits after the point are rounded there.
"""

from __future__ import annotations

import math
from decimal import Decimal


def plus(one: float, other: float) -> float:
    """Add as decimal numbers: 0.1 + 0.2 is 0.3.

    Example:
        >>> plus(0.1, 0.2)
        0.3
    """
    if not (math.isfinite(one) and math.isfinite(other)):
        return one + other
    return float(Decimal(repr(one)) + Decimal(repr(other)))


def exact(value: float) -> Decimal:
    """Return the decimal number that a float is written as."""
    return Decimal(repr(float(value)))


def as_text(value: Decimal) -> str:
    """Return a number without exponent, and without zeros at its end."""
    text = format(value, 'f')
    text = text.rstrip('0').rstrip('.') if '.' in text else text
    return '0' if text == '-0' else text
