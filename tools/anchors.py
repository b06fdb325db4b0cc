"""Say whether the anchors of a config fit its training boxes, and propose better ones.

Images go through the training pipeline, and their boxes are measured in pixels of the
network's input: the share that has an anchor of some IoU, by size, aspect and level,
and the positive anchors that an object gets. Nothing is written.

Examples:
    python tools/anchors.py configs/shapes/faster-rcnn_r18_fpn_shapes.py
    python tools/anchors.py CONFIG --images 2000 --per-cell 5
"""

from __future__ import annotations

import argparse
import sys


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--images',
        type=int,
        default=500,
        help='how many images, spread evenly over the data set (default: %(default)s)',
    )
    parser.add_argument(
        '--per-cell',
        type=int,
        help='how many anchors a cell are proposed at most (default: as many as the '
        'config has)',
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='of augmentation and sampling'
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

    sys.exit(start('anchors', arguments))
