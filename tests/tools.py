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
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from tests.plain_figures import draw_none

REPO = Path(__file__).resolve().parents[1]

_forks = multiprocessing.get_context('forkserver')
_forks.set_forkserver_preload(
    ['mmfrcnn.cli.train', 'mmfrcnn.cli.test', 'mmfrcnn.cli.predict', __name__]
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
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / 'out', Path(folder) / 'err']
        process = _forks.Process(
            target=_become, args=(command, cwd, environment(), outputs)
        )
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(command, timeout)
        texts = [path.read_text() for path in outputs]
        return subprocess.CompletedProcess(command, process.exitcode, *texts)


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
    draw_none()
    sys.argv = command
    sys.path.insert(0, str(Path(command[0]).parent))
    runpy.run_path(command[0], run_name='__main__')
