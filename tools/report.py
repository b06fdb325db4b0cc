"""Explain a run on one page: where objects are lost, why, and what to do about it.

Evaluates the run's best checkpoint on the validation's images, and on some of those it
was trained on. Writes report.html, for people, and report.json, for programs, into the
run's folder.

Examples:
    python tools/report.py work_dirs/pets
    python tools/report.py work_dirs/pets --against work_dirs/pets_before
    python tools/report.py CONFIG CHECKPOINT --work-dir FOLDER
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
        'config', help="config file, or a run's folder in place of both"
    )
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file')
    parser.add_argument(
        '--work-dir',
        help="folder for the report; without it the run's, or the work_dir of the "
        'config, or work_dirs/CONFIG_NAME',
    )
    parser.add_argument(
        '--against',
        metavar='RUN',
        help='folder of another run with a report on the same images, to compare with',
    )
    parser.add_argument(
        '--images',
        type=int,
        default=200,
        help='how many training images are looked at (default: %(default)s)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='override settings of the config',
    )
    parser.add_argument(
        '--verbose',
        action='store_true',
        help='print all that the log file holds, as MMDetection does',
    )
    parser.add_argument('--device', help='cpu, cuda or cuda:N; default: a GPU if any')
    parser.set_defaults(launcher='none', local_rank=0)
    return parser.parse_args()


if __name__ == '__main__':
    arguments = parse_args()

    from start import start

    sys.exit(start('report', arguments))
