"""``tools/convert_dataset.py``: a data set in another format."""

from __future__ import annotations

import argparse

from mmfrcnn.data.conversion import convert


def run(args: argparse.Namespace) -> None:
    """Convert as the command line says."""
    report = convert(
        args.source,
        args.target,
        source_format=args.source_format,
        target_format=args.target_format,
        splits=args.splits,
        image_dir=args.image_dir,
        images=args.images,
        dry_run=args.dry_run,
    )
    print(report)
    print('nothing was written' if args.dry_run else f'written: {args.target}')
