#!/usr/bin/env python
"""Make the drawn-shapes data set, in COCO format, from a seed."""

from __future__ import annotations

import argparse
import sys


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='example: python tools/make_shapes.py --out data/shapes --workers 2',
    )
    parser.add_argument('--out', default='data/shapes', help='folder to write to')
    parser.add_argument('--seed', type=int, metavar='N')
    parser.add_argument('--num-train', type=int, metavar='N')
    parser.add_argument('--num-val', type=int, metavar='N')
    parser.add_argument(
        '--workers', type=int, metavar='N', help='processes (all CPUs by default)'
    )
    parser.add_argument(
        '--force', action='store_true', help='make it again where it is complete'
    )
    return parser.parse_args()


if __name__ == '__main__':
    arguments = parse_args()

    from start import start

    sys.exit(start('make_shapes', arguments))
