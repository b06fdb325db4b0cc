"""``tools/make_shapes.py``: make the drawn-shapes data set."""

from __future__ import annotations

import argparse

from mmfrcnn.data.shapes.generate import DEFAULT_COUNTS, DEFAULT_SEED, make_shapes


def run(args: argparse.Namespace) -> None:
    """Make the data as the command line says, the rest as the configs have it."""
    given = {'train': args.num_train, 'val': args.num_val}
    made = make_shapes(
        args.out,
        seed=DEFAULT_SEED if args.seed is None else args.seed,
        counts=DEFAULT_COUNTS | {k: v for k, v in given.items() if v is not None},
        workers=args.workers,
        force=args.force,
    )
    print(f'made {" and ".join(made)} in' if made else 'already complete:', args.out)
