"""torchrun, but a failed process is answered with its exit code, without a traceback.

The process has said what was wrong. Used by dist_train.sh and dist_test.sh.

Example:
    python tools/torchrun.py --nproc-per-node=2 tools/train.py CONFIG --launcher pytorch
"""

from __future__ import annotations

import sys

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main


def run() -> int:
    """Run the processes; return the exit code of the first that failed, or 0."""
    try:
        main()
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return failure.exitcode if failure.exitcode > 0 else 1
    return 0


if __name__ == '__main__':
    sys.exit(run())
