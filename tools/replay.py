"""Compute a step again whose loss was not finite, and say where that begins.

Training writes such a step to WORK_DIR/nan: the batch, the weights before it, and the
config. It is computed with the same samples: each loss, the norm of the gradient, and
the first module whose output is not finite with what went in are printed. Nothing in
the file is executed. The exit code is 0 if it is not finite again, and 1 if it is.

Examples:
    python tools/replay.py work_dirs/pets/nan/iter_37.pth
    python tools/replay.py work_dirs/pets/nan/iter_37.pth --device cpu
    python tools/replay.py DUMP --config pets.py   # of a model with classes of your own
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
        'dump', help='file that training wrote, WORK_DIR/nan/iter_N.pth'
    )
    parser.add_argument(
        '--config', help='config file to build the model of; default: the one inside'
    )
    parser.add_argument('--device', help='cpu, cuda or cuda:N; default: a GPU if any')
    return parser.parse_args()


if __name__ == '__main__':
    arguments = parse_args()

    from start import start

    sys.exit(start('replay', arguments))
