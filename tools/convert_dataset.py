"""Convert a data set between COCO, Pascal VOC and YOLO, boxes and classes unchanged.

Reads and checks everything first; a mistake is named by file, line, id or key, and then
nothing is written. What the other format cannot hold is counted in the report.

    coco   annotations/instances_SPLIT.json and SPLIT/, or one JSON file
    voc    ImageSets/Main/SPLIT.txt, Annotations/ and JPEGImages/
    yolo   images/SPLIT/, labels/SPLIT/ and data.yaml or classes.txt

Examples:
    python tools/convert_dataset.py --from voc --to coco data/bccd data/bccd_coco --splits trainval test
    python tools/convert_dataset.py --from coco --to yolo data/coco data/coco_yolo --images link
    python tools/convert_dataset.py --from coco --to voc pets.json data/pets_voc --image-dir data/pets/images --dry-run
"""  # noqa: E501

from __future__ import annotations

import argparse
import sys

FORMATS = ['coco', 'voc', 'yolo']


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', help='folder of the data set, or a COCO JSON file')
    parser.add_argument('target', help='folder to make')
    parser.add_argument(
        '--from',
        dest='source_format',
        choices=FORMATS,
        required=True,
        help='its format',
    )
    parser.add_argument(
        '--to', dest='target_format', choices=FORMATS, required=True, help='new format'
    )
    parser.add_argument(
        '--splits', nargs='+', metavar='NAME', help='splits to convert (default: all)'
    )
    parser.add_argument(
        '--image-dir', help='folder that the file names in a COCO JSON are relative to'
    )
    parser.add_argument(
        '--images',
        choices=['copy', 'link', 'none'],
        default='copy',
        help='copy the images, make symbolic links, or write annotations alone',
    )
    parser.add_argument(
        '--dry-run', action='store_true', help='check and report, write nothing'
    )
    return parser.parse_args()


if __name__ == '__main__':
    arguments = parse_args()

    from start import start

    sys.exit(start('convert_dataset', arguments))
