"""Show what the network is really fed: images after augmentation, with their boxes.

The pictures come out of the data preprocessor, padding included, with only the
normalisation undone. Boxes that training ignores (crowds) are dashed and grey; where an
image is padded, a yellow line shows where it ends.

Examples:
    python tools/browse_dataset.py CONFIG --out-dir browse
    python tools/browse_dataset.py CONFIG --out-dir browse --split val --number 50
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
    parser.add_argument('--out-dir', required=True, help='folder for the pictures')
    parser.add_argument(
        '--split', choices=['train', 'val', 'test'], default='train', help='which data'
    )
    parser.add_argument(
        '--number', type=int, default=20, help='how many images (default: 20)'
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='of choice and augmentation'
    )
    parser.add_argument('--show', action='store_true', help='show the overview, too')
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

    sys.exit(start('browse_dataset', arguments))
