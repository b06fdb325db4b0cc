"""Run the tools, each in a process that is forked from one with all imports done.

Half of a tool's time on a tiny problem goes into its imports. A server of Python's own
(`multiprocessing`) does them once; the process, its environment, folder, output and
exit code are the tool's own. That the tools start by themselves too, the tests of the
README and of killed trainings show.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import torch

from tests.plain_outputs import make_plain

REPO = Path(__file__).resolve().parents[1]

_forks = multiprocessing.get_context('forkserver')
# setuptools: mmengine asks it for the compiler, to log it at each start.
_forks.set_forkserver_preload(
    [f'mmfrcnn.cli.{name}' for name in ('train', 'test', 'predict', 'report')]
    + ['mmfrcnn.report.charts', 'setuptools', __name__]
)


def environment() -> dict[str, str]:
    """Return an environment in which the tools find this checkout's package."""
    path = os.pathsep.join(
        [str(REPO / 'projects'), *filter(None, [os.environ.get('PYTHONPATH')])]
    )
    return {
        **os.environ,
        'PYTHONPATH': path,
        'OMP_NUM_THREADS': '1',
        'CUDA_VISIBLE_DEVICES': '',
        'PYTHON': sys.executable,
    }


def run_tool(
    name: str, *args: object, cwd: Path | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run ``tools/NAME`` and return its exit code and what it printed."""
    command = [str(REPO / 'tools' / name), *map(str, args)]
    if name.endswith('.sh'):
        return subprocess.run(
            ['bash', *command],
            cwd=cwd,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
        )
    return run_forked(command, cwd or Path.cwd(), timeout)


def run_forked(
    command: list[str], cwd: Path, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run a script with its arguments in a folder, as ``python`` would."""
    (done,) = _run_all(command, cwd, timeout, [{}])
    return done


def start_forked(
    command: list[str],
    cwd: Path,
    variables: Mapping[str, object] = MappingProxyType({}),
) -> multiprocessing.Process:
    """Start a script as `run_forked` does, for a test that kills it."""
    outputs = [Path(os.devnull)] * 2
    env = environment() | {key: str(value) for key, value in variables.items()}
    process = _forks.Process(target=_become, args=(command, cwd, env, outputs))
    process.start()
    return process


def run_ranks(
    name: str, *args: object, processes: int = 2, timeout: float = 120
) -> list[subprocess.CompletedProcess[str]]:
    """Run ``tools/NAME`` in several processes that talk, as torchrun starts them."""
    world = dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=free_port(), WORLD_SIZE=processes)
    ranks = [dict(world, RANK=n, LOCAL_RANK=n) for n in range(processes)]
    command = [str(REPO / 'tools' / name), *map(str, args), '--launcher', 'pytorch']
    return _run_all(command, Path.cwd(), timeout, ranks)


def free_port() -> int:
    """Return a port of this machine that nobody has."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


def _run_all(
    command: list[str], cwd: Path, timeout: float, variables: list[dict[str, object]]
) -> list[subprocess.CompletedProcess[str]]:
    """Run a command once for each addition to its environment, at the same time."""
    with tempfile.TemporaryDirectory() as folder:
        processes, outputs = [], []
        for number, more in enumerate(variables):
            env = environment() | {key: str(value) for key, value in more.items()}
            outputs.append(
                [Path(folder) / f'{name}{number}' for name in ('out', 'err')]
            )
            processes.append(
                _forks.Process(target=_become, args=(command, cwd, env, outputs[-1]))
            )
            processes[-1].start()
        deadline = time.monotonic() + timeout
        for process in processes:
            process.join(max(0, deadline - time.monotonic()))
        late = [process for process in processes if process.exitcode is None]
        for process in late:
            process.kill()
            process.join()
        if late:
            raise subprocess.TimeoutExpired(command, timeout)
        return [
            subprocess.CompletedProcess(
                command, process.exitcode, *(path.read_text() for path in paths)
            )
            for process, paths in zip(processes, outputs, strict=True)
        ]


def _become(
    command: list[str], cwd: Path, env: dict[str, str], outputs: list[Path]
) -> None:
    """Be the tool: what a new interpreter would be given is put in place."""
    for descriptor, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    torch.set_num_threads(1)
    gc.freeze()  # a collection need not look through the imports
    make_plain()
    sys.argv = command
    sys.path.insert(0, str(Path(command[0]).parent))
    runpy.run_path(command[0], run_name='__main__')
