"""Kill trainings at random moments, resume them, and compare what comes of them.

    python -m tests.soak.kills --kills 100

Each training is killed with SIGKILL, its processes all at once, up to five times before
it may end: while it starts, trains, validates, saves or stores proposals. Its last
checkpoint must equal that of a training that nothing interrupted, to the bit, and so
must results.csv. Times of iterations and the names of folders are left out.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.tools import REPO, free_port, start_forked
from tests.training.exact import (
    ALTERNATING,
    BY_ITERATION,
    EPOCHS,
    ITERATIONS,
    MOSAIC,
    what_differs,
    write_config,
)

SCENARIOS = {
    'iterations, no workers': ((BY_ITERATION,), 0, 1),
    'iterations, 2 workers, mosaic': ((BY_ITERATION, MOSAIC), 2, 1),
    'iterations, 4 workers': ((BY_ITERATION,), 4, 1),
    'epochs, no workers, mosaic': ((EPOCHS, MOSAIC), 0, 1),
    'epochs, 2 workers': ((EPOCHS,), 2, 1),
    'epochs, 4 workers': ((EPOCHS,), 4, 1),
    'alternating, 2 workers': ((ALTERNATING,), 2, 1),
    'iterations, 2 processes': ((BY_ITERATION,), 0, 2),
    'epochs, 2 processes, 2 workers': ((EPOCHS,), 2, 2),
}
"""What is trained: parts of the config, workers, processes."""
KILLS_A_RUN = 5
LIMIT = 120


def start(config: Path, folder: Path, processes: int) -> list:
    """Start a training in processes of its own, which goes on where one was."""
    command = [str(REPO / 'tools/train.py'), str(config), '--work-dir', str(folder)]
    command += ['--resume']
    if processes == 1:
        return [start_forked(command, Path.cwd())]
    world = dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=free_port(), WORLD_SIZE=processes)
    command += ['--launcher', 'pytorch']
    command += ['--cfg-options', 'train_dataloader.batch_size=1']
    return [
        start_forked(command, Path.cwd(), world | dict(RANK=rank, LOCAL_RANK=rank))
        for rank in range(processes)
    ]


def finish(running: Sequence) -> float:
    """Wait for the end of a training; return how long that took."""
    begun = time.monotonic()
    for process in running:
        process.join(LIMIT)
        if process.exitcode != 0:
            raise AssertionError(f'a training ended with {process.exitcode}')
    return time.monotonic() - begun


def kill(running: Sequence, folder: Path, draw: random.Random, step: float) -> bool:
    """Kill a training at a random moment; return whether it was still there."""
    done = iterations_in(folder)
    wanted = draw.randint(done, ITERATIONS)
    while iterations_in(folder) < wanted and running[0].exitcode is None:
        time.sleep(step / 20)
    # Before there is any new checkpoint: while it starts and gets its data.
    time.sleep(draw.uniform(0, step if wanted > done else 10 * step))
    alive = [process for process in running if process.exitcode is None]
    for process in alive:
        process.kill()
    for process in running:
        process.join()
    return bool(alive)


def iterations_in(folder: Path) -> int:
    """Return how far the checkpoints of a work folder go."""
    names = (path.stem.partition('_')[2] for path in folder.glob('iter_*.pth'))
    return max(map(int, names), default=0)


def attack(name: str, folder: Path, kills: int, draw: random.Random) -> list[str]:
    """Kill trainings of a scenario; return a line for each that came out different."""
    parts, workers, processes = SCENARIOS[name]
    config = write_config(folder, *parts, workers=workers)
    finish(start(config, folder / 'whole', processes))
    length = finish(start(config, folder / 'timed', processes))
    done, runs, wrong, where = 0, 0, [], []
    while done < kills:
        work_dir = folder / f'run{runs}'
        for _ in range(min(KILLS_A_RUN, kills - done)):
            running = start(config, work_dir, processes)
            if not kill(running, work_dir, draw, length / ITERATIONS / 2):
                break
            done += 1
            where.append(iterations_in(work_dir))
        finish(start(config, work_dir, processes))
        found = what_differs(folder / 'whole', work_dir)
        if found:
            wrong.append(f'{work_dir}: {found[:5]}')
        shutil.rmtree(work_dir)
        runs += 1
    print(
        f'{name}: {done} kills in {runs} trainings, last iterations then {where}',
        flush=True,
    )
    return wrong


def main() -> int:
    """Attack each scenario; return 1 if a training came out different."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--kills', type=int, default=100, help='in all; default 100')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--only', help='a part of the names of scenarios')
    args = parser.parse_args()
    names = [name for name in SCENARIOS if (args.only or '') in name]
    draw, wrong = random.Random(args.seed), []
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(names):
            kills = args.kills * (number + 1) // len(names)
            kills -= args.kills * number // len(names)
            wrong += attack(name, Path(folder) / str(number), kills, draw)
    print('\n'.join(wrong) or 'All ended as if nothing had happened.')
    return 1 if wrong else 0


if __name__ == '__main__':
    os.environ['OMP_NUM_THREADS'] = '1'
    sys.exit(main())
