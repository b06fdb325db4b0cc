"""Look at a folder of annotated images and write a config for it.

Recognises COCO JSON, Pascal VOC XML, YOLO, CSV tables, LabelMe and Label Studio, in the
layouts of exporters. Where there is no validation split it holds one out, as
lists in DATA.splits beside the folder; in the folder itself nothing is changed.

Examples:
    python tools/new.py data/pets                    # writes pets.py
    python tools/new.py data/pets --out configs/pets.py --flip no
    python tools/new.py data/export --format yolo    # where it holds several formats
"""

from __future__ import annotations

import argparse
import sys

FORMATS = ['coco', 'voc', 'yolo', 'csv', 'labelme', 'label_studio']


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('data', help='folder with the images and their annotations')
    parser.add_argument('--out', help='the config to write (default: ./FOLDER_NAME.py)')
    parser.add_argument(
        '--format',
        choices=FORMATS,
        help='where the folder holds several, the one meant',
    )
    parser.add_argument(
        '--flip',
        choices=['yes', 'no'],
        help='whether a mirrored object is still of its class; without it, asked where '
        'a class name gives reason to',
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='of the images held out (default: 0)'
    )
    return parser.parse_args()


if __name__ == '__main__':
    arguments = parse_args()

    from start import start

    sys.exit(start('new', arguments))
