"""A run's folder in place of a config and a checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmfrcnn.cli.runtime import print_once
from mmfrcnn.deploy.run_folder import find_checkpoint
from mmfrcnn.errors import UserError, first_of


def name_files(args: argparse.Namespace) -> None:
    """Put the files that a run's folder stands for into a command line.

    Args:
        args (argparse.Namespace): With ``config``, a config or a run's folder, and
            ``checkpoint``, None where it was left out; changed in place. A
            ``work_dir`` that was left out becomes the folder ``test`` in the run's.

    Raises:
        UserError: If a checkpoint is missing, or the folder has none or no one config.
    """
    folder = Path(args.config)
    if not folder.is_dir():
        if args.checkpoint is None:
            raise UserError(
                f'{args.config} is given without a checkpoint: name one behind it, or '
                'in place of both the folder of a run, as work_dirs/pets'
            )
        return
    configs = sorted(folder.glob('*.py'))
    if len(configs) != 1:
        there = first_of([file.name for file in configs]) or 'none'
        raise UserError(
            f'{folder}: a run has one config in its folder; here is {there}. Name '
            'config and checkpoint'
        )
    if args.checkpoint is None:
        args.checkpoint = str(find_checkpoint(folder))
        print_once(f'{configs[0]} with {args.checkpoint}')
    args.config = str(configs[0])
    # The run's own is in its config: there the config itself would be written over.
    if getattr(args, 'work_dir', '') is None:
        args.work_dir = str(folder / 'test')
