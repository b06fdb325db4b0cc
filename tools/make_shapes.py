#!/usr/bin/env python
"""Make the drawn-shapes data set, in COCO format, from a seed."""

from __future__ import annotations

import argparse
import sys

from mmfrcnn.errors import UserError
from mmfrcnn.shapes.generate import DEFAULT_COUNTS, DEFAULT_SEED, make_shapes


def main() -> int:
    """Make the data; 0 on success, 2 where the arguments are at fault."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='example: python tools/make_shapes.py --out data/shapes --workers 2',
    )
    parser.add_argument('--out', default='data/shapes', help='folder to write to')
    parser.add_argument('--seed', type=int, default=DEFAULT_SEED)
    parser.add_argument(
        '--num-train', type=int, default=DEFAULT_COUNTS['train'], metavar='N'
    )
    parser.add_argument(
        '--num-val', type=int, default=DEFAULT_COUNTS['val'], metavar='N'
    )
    parser.add_argument(
        '--workers', type=int, metavar='N', help='processes (all CPUs by default)'
    )
    parser.add_argument(
        '--force', action='store_true', help='make it again where it is complete'
    )
    args = parser.parse_args()
    try:
        made = make_shapes(
            args.out,
            seed=args.seed,
            counts={'train': args.num_train, 'val': args.num_val},
            workers=args.workers,
            force=args.force,
        )
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print(f'made {" and ".join(made)} in' if made else 'already complete:', args.out)
    return 0


if __name__ == '__main__':
    sys.exit(main())
