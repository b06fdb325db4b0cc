r"""Say what a GPU says of this checkout: tests, speed, memory, waits, in 9 minutes.

Runs the tests that a GPU makes a difference to; then the heads' operators alone (our
kernels, plain torch, mmdet's and torchvision's) and whole steps of training and
inference beside mmdet and torchvision; and writes gpu_check.json, gpu_check.md and
gpu_check.log. Each part's result is written as soon as it is there. A part that fails
is named with its error, one for which no time is left is named too, and the rest goes
on. The exit code is 0 if all tests passed, else 1.

Nothing is fetched, and the package need not be installed. Needed: torch, torchvision,
Triton, pytest, OpenCV, SciPy, matplotlib, tqdm, rich, PyYAML, six, filelock, and the
OpenMMLab stack. Where the machine has no network, carry what it lacks as wheels, 6 MB
(the Python and the platform are its own):

    WHEELS="mmengine==0.10.7 mmcv-lite==2.1.0 mmdet==3.3.0 addict terminaltables
        termcolor yapf platformdirs shapely pycocotools"
    pip download --only-binary=:all: --no-deps --python-version 3.12 \
        --platform manylinux2014_x86_64 --platform manylinux_2_28_x86_64 \
        -d wheels $WHEELS
    pip install --no-index --find-links wheels --no-deps $WHEELS

pip download where there is a network, pip install there; `python tools/doctor.py` says
what is still missing.

Examples:
    python tools/gpu_check.py
    python tools/gpu_check.py --minutes 4 --batches 16 --precisions bfloat16 --out quick
    python tools/gpu_check.py --parts NMS assignment RoIAlign --out operators
    python tools/gpu_check.py --device cpu --size 64 96 --batches 1 --minutes 30
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

PARTS = (
    *('tests', 'NMS', 'assignment', 'RoIAlign', 'RoIAlign-backward', 'sampling'),
    *('train', 'infer', 'recorded'),
)


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', default='gpu_check', metavar='DIR')
    parser.add_argument('--minutes', type=float, default=9.0, metavar='N')
    parser.add_argument(
        '--parts', nargs='+', choices=PARTS, default=[], help='default: all of them'
    )
    parser.add_argument(
        '--tests',
        nargs='+',
        default=[],
        metavar='FILE',
        help='files of tests, from the root of the repository; default: all in which a '
        'GPU makes a difference',
    )
    on = parser.add_argument_group('on what is measured; first comes first')
    on.add_argument('--batches', type=int, nargs='+', default=[16, 1, 8, 2])
    on.add_argument(
        '--precisions',
        nargs='+',
        choices=['float32', 'bfloat16', 'float16'],
        default=['bfloat16', 'float32'],
    )
    on.add_argument(
        '--size', type=int, nargs=2, default=[800, 1344], metavar=('H', 'W')
    )
    on.add_argument('--device', help='cpu, cuda or cuda:N; default: a GPU if any')
    on.add_argument('--peers', nargs='*', metavar='NAME', help='default: all there are')
    on.add_argument(
        '--rounds', type=int, metavar='N', help='default: 5 to 40, by the batch'
    )
    args = parser.parse_args()
    for name, values in (('batches', args.batches), ('rounds', [args.rounds or 1])):
        if min(values) < 1:
            parser.error(f'--{name} {min(values)}: it must be 1 or more')
    if min(args.size) < 32:
        parser.error(f'--size {args.size[0]} {args.size[1]}: at least 32 pixels')
    if not args.minutes > 0:
        parser.error(f'--minutes {args.minutes:g}: it must be more than 0')
    return args


if __name__ == '__main__':
    arguments = parse_args()

    from start import start

    # This checkout's packages, installed or not, also where another's are installed.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'projects'))
    sys.exit(start('mmfrcnn_benchmark.gpu_check', arguments))
