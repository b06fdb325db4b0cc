"""How the tools beside this file begin, once their command line is parsed.

Only now is the package imported, so that ``--help`` answers at once; and where it, or
what it needs, is not installed, one line says so.
"""

from __future__ import annotations

import argparse
import sys


def start(name: str, arguments: argparse.Namespace) -> int:
    """Run the tool of a name; return the exit code."""
    try:
        from mmfrcnn.cli import run_command
    except ModuleNotFoundError as error:
        # Where the package is missing, so is its command.
        doctor = (
            'mmfrcnn doctor' if error.name != 'mmfrcnn' else 'python tools/doctor.py'
        )
        cure = f'`{doctor}` says what is missing, and the cure'
        print(f'error: {error}. {cure}', file=sys.stderr)
        return 2
    return run_command(name, arguments)
