"""Train a detector on drawn shapes, evaluate it and draw what it found.

The last line printed is the box AP on the held-out pictures. Run again after an
interruption, it goes on where it stopped.

Example:
    python tools/demo.py --work-dir work_dirs/demo
"""

from __future__ import annotations

import argparse
import sys


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--work-dir', default='work_dirs/demo', help='folder for logs and pictures'
    )
    parser.add_argument(
        '--num-pictures', type=int, default=12, help='pictures to draw (default: 12)'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='override settings of the config',
    )
    return parser.parse_args()


if __name__ == '__main__':
    arguments = parse_args()

    from start import start

    sys.exit(start('demo', arguments))
