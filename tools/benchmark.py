"""Measure our detector beside mmdet's and torchvision's.

All get the same images, boxes, weights, batch, precision and device and take turns in
this process. Times are medians with quartiles; ratios are paired round by round.

Examples:
    python tools/benchmark.py --infer                      # one image of 800x1088
    python tools/benchmark.py --train --batch-size 16 --precision bfloat16
    python tools/benchmark.py --heads --json heads.json    # what is no convolution
    python tools/benchmark.py --scale gts classes --size 320 416 --plot scale.png
    python tools/benchmark.py --loader configs/shapes/faster-rcnn_r18_fpn_shapes.py
    python tools/benchmark.py --infer --size 320 416 --rounds 3 --peers torchvision
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_argument_group('what is measured (one or more)')
    what.add_argument('--infer', action='store_true', help='whole inferences')
    what.add_argument('--train', action='store_true', help='whole training steps')
    what.add_argument(
        '--stages', action='store_true', help='each stage of a training step'
    )
    what.add_argument(
        '--heads',
        action='store_true',
        help="the heads' own work in a training step, stage by stage: backbone, neck, "
        'convolutions and linear layers answer from memory',
    )
    what.add_argument(
        '--pooling', action='store_true', help='RoIAlign of 1,000 regions, 4 levels'
    )
    what.add_argument(
        '--counts',
        action='store_true',
        help='operators, and those that make the host wait for a GPU, in a training '
        'forward and an inference of 2, 8 and 16 images',
    )
    what.add_argument(
        '--kernels',
        action='store_true',
        help="registers, spilled bytes and shared memory of Triton's kernels on cards "
        'from sm_75 to sm_120: compiled, not run, so without a GPU',
    )
    what.add_argument(
        '--scale',
        nargs='+',
        choices=['gts', 'batch', 'size', 'classes'],
        default=[],
        help='our training step as ground truths (1 to 10,000 an image), images a '
        'batch, their size, or classes (20 to 1,203) grow; a process for each point',
    )
    what.add_argument(
        '--loader',
        nargs='+',
        metavar='CONFIG',
        default=[],
        help="images a second from a config's training data loader, with 0, 1, 2, ... "
        'workers: to hold beside the images a second that a step takes',
    )
    what.add_argument(
        '--roofline',
        action='store_true',
        help='the most images a second that an RTX 4090, A100, H100 and H200 can do, '
        'and the least time of each operator: computed, nothing is run',
    )
    on = parser.add_argument_group('on what')
    on.add_argument('--batch-size', type=int, metavar='N', help='images a batch')
    on.add_argument(
        '--size',
        type=int,
        nargs=2,
        metavar=('H', 'W'),
        help='default: 800 1088, and 96 128 for --counts, which do not depend on it',
    )
    on.add_argument('--objects', type=int, metavar='N', help='objects an image')
    on.add_argument('--classes', type=int, default=80, metavar='N')
    on.add_argument('--device', help='cpu, cuda or cuda:N; default: a GPU if any')
    on.add_argument(
        '--precision', choices=['float32', 'bfloat16', 'float16'], default='float32'
    )
    on.add_argument('--threads', type=int, metavar='N', help='CPU threads')
    on.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='override settings of the configs of --loader',
    )
    on.add_argument('--peers', nargs='*', metavar='NAME', help='default: all there are')
    how = parser.add_argument_group('how')
    how.add_argument('--rounds', type=int, default=5, metavar='N')
    how.add_argument('--warmup', type=int, default=1, metavar='N')
    how.add_argument('--json', metavar='FILE', help='write all figures there')
    how.add_argument('--plot', metavar='FILE.png', help='draw what --scale measures')
    args = parser.parse_args()
    for name in ('batch_size', 'objects', 'classes', 'threads', 'rounds'):
        value = getattr(args, name)
        if value is not None and value < (name != 'objects'):
            parser.error(f'--{name.replace("_", "-")} {value}: it must be 1 or more')
    if args.size and min(args.size) < 32:
        parser.error(f'--size {args.size[0]} {args.size[1]}: at least 32 pixels')
    if args.plot and not args.scale:
        parser.error('--plot draws what --scale measures')
    measures = (
        *('infer', 'train', 'stages', 'heads', 'pooling', 'counts'),
        *('kernels', 'scale', 'loader', 'roofline'),
    )
    if not any(getattr(args, name) for name in measures):
        parser.error(f'say what to measure: --{", --".join(measures)}')
    return args


if __name__ == '__main__':
    arguments = parse_args()

    from start import start

    # The benchmark lies beside the package, and is no part of what pip installs.
    sys.path.append(str(Path(__file__).resolve().parents[1] / 'projects'))
    sys.exit(start('mmfrcnn_benchmark.command', arguments))
