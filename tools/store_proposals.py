"""Store what a trained RPN proposes, for Fast R-CNN to train and be tested on.

Examples:
    python tools/store_proposals.py configs/rpn/rpn_r18_fpn_shapes.py \
        work_dirs/rpn_r18_fpn_shapes/iter_1300.pth data/shapes/proposals_train.npz
    python tools/store_proposals.py CONFIG CHECKPOINT val.npz --split val

CONFIG is of an RPN or of a whole Faster R-CNN. The file holds arrays alone: boxes in
pixels of the original images, scores, and the id and size of each image.
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
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('out', help='file to write, .npz')
    parser.add_argument(
        '--split',
        choices=['train', 'val', 'test'],
        default='train',
        help='images of which dataloader of the config (default: %(default)s); those '
        'of the training set are prepared as for testing, without augmentation',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='override settings of the config: a.b.0.c=1, key="[(a,b),(c,d)]"',
    )
    parser.add_argument('--device', help='cpu, cuda or cuda:N; default: a GPU if any')
    arguments = parser.parse_args()
    # What the other tools take and this one has no use for.
    arguments.work_dir, arguments.launcher, arguments.local_rank = None, 'none', 0
    return arguments


if __name__ == '__main__':
    arguments = parse_args()

    from start import start

    sys.exit(start('store_proposals', arguments))
