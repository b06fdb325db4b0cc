"""Find the learning rates that a training can bear: a range test (Smith 2017).

Trains for some iterations from the config's first weights while the learning rate
rises, by the same factor each time, until the loss diverges. Prints the loss at some
rates, the rate to train with, and whether the config's is in the range between a loss
that begins to fall and one that rises. The rates are those of
optim_wrapper.optimizer.lr: what is multiplied with them (paramwise_cfg, auto_scale_lr)
stays. Nothing is kept: the config's work folder is left alone.

Examples:
    python tools/lr.py configs/shapes/faster-rcnn_r18_fpn_shapes.py
    python tools/lr.py CONFIG --iterations 300 --from 1e-5 --to 1 --out rates.csv
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
        '--iterations',
        type=int,
        default=100,
        help='how many updates of the weights (default: %(default)s)',
    )
    parser.add_argument(
        '--from',
        type=float,
        dest='low',
        metavar='RATE',
        help="the first rate (default: a hundredth of the config's)",
    )
    parser.add_argument(
        '--to',
        type=float,
        dest='high',
        metavar='RATE',
        help="the last rate (default: a hundred times the config's)",
    )
    parser.add_argument(
        '--out', metavar='FILE.csv', help='write the rate and loss of each update here'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='override settings of the config',
    )
    parser.add_argument('--device', help='cpu, cuda or cuda:N; default: a GPU if any')
    return parser.parse_args()


if __name__ == '__main__':
    arguments = parse_args()

    from start import start

    sys.exit(start('lr', arguments))
