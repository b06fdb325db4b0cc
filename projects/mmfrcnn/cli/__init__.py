"""What the command lines in `tools/` share.

`tools/*.py` parse arguments and nothing else, so that ``--help`` answers at once; the
work is done by the module of the same name here, through `run_command`, which
`tools/start.py` calls.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import timedelta
from importlib import import_module

import torch

from mmfrcnn.errors import Interrupted, UserError

UNUSABLE_PATH = (
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
"""What a folder that cannot be written, or a file in place of a folder, raises."""


def run_command(name: str, args: argparse.Namespace) -> int:
    """Run ``run(args)`` of a command's module; return the exit code of the process.

    Args:
        name (str): Module in `mmfrcnn.cli`, or one elsewhere by its full name.
        args (argparse.Namespace): The parsed command line.

    Returns:
        int: What the command returned (None is 0), 2 for a mistake of the user, which
        is printed as one message without a traceback, 130 for Ctrl-C, or 143 for
        SIGTERM in a training. Any other exception is a bug of ours and keeps its
        traceback.
    """
    module = name if '.' in name else f'mmfrcnn.cli.{name}'
    try:
        return import_module(module).run(args) or 0
    except UserError as error:
        # From a worker of a data loader it comes wrapped in the worker's traceback.
        message = str(error).rpartition('UserError: ')[2].strip()
        _complain(message)
        return 2
    except UNUSABLE_PATH as error:
        _complain(f'{error.filename}: {error.strerror}')
        return 2
    except Interrupted as error:
        if _is_first_to_say(str(error)):
            print(error, file=sys.stderr, flush=True)
        return error.exit_code
    except torch.OutOfMemoryError as error:
        from mmfrcnn.cli.out_of_memory import explain_out_of_memory

        _complain(explain_out_of_memory(name, error))
        return 2
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr, flush=True)
        return 130


def _complain(message: str) -> None:
    """Print an error, unless another process of the same run has printed just this."""
    if _is_first_to_say(message):
        print(f'error: {message}', file=sys.stderr, flush=True)


def _is_first_to_say(message: str) -> bool:
    """Ask the store that torchrun holds for its processes; yes, where there is none.

    It is there before they join each other and after one has failed, so nobody waits.
    """
    if os.environ.get('TORCHELASTIC_USE_AGENT_STORE') != 'True':
        return True
    from torch.distributed import TCPStore

    address, port = os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT'])
    attempt = os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')
    try:
        store = TCPStore(address, port, timeout=timedelta(seconds=10))
        return store.add(f'mmfrcnn/{attempt}/{message}', 1) == 1
    except RuntimeError:  # torchrun is gone
        return True
