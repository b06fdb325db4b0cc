"""torchrun, but a failed process is answered with its exit code, without a traceback.

The process has said what was wrong; of one that a signal ended, this does. Used by
dist_train.sh and dist_test.sh.

Example:
    python tools/torchrun.py --nproc-per-node=2 tools/train.py CONFIG --launcher pytorch
"""

from __future__ import annotations

import socket
import sys

from torch.distributed.elastic.multiprocessing.errors import (
    ChildFailedError,
    ProcessFailure,
)
from torch.distributed.run import main


def run() -> int:
    """Run the processes; return the exit code of the first that failed, or 0."""
    try:
        main()
    except ChildFailedError as error:
        # The others are sent a SIGTERM when one has failed.
        failures = error.failures.items()
        first = [one for one in failures if one[1].signal_name() != 'SIGTERM']
        for rank, failure in first or failures:
            if failure.exitcode < 0:
                print(f'error: {_of_signal(rank, failure)}', file=sys.stderr)
        _, failure = error.get_first_failure()
        return failure.exitcode if failure.exitcode > 0 else 1
    return 0


def _of_signal(rank: int, failure: ProcessFailure) -> str:
    """Say which process a signal has ended."""
    signal = failure.signal_name()
    cause = ', most likely because memory ran out' if signal == 'SIGKILL' else ''
    process = f'rank {rank} (pid {failure.pid} on {socket.gethostname()})'
    return f'{process} was ended by {signal}{cause}. The others were ended with it'


if __name__ == '__main__':
    sys.exit(run())
