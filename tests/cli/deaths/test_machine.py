"""What is said of the machine, told by files of machines made up."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from mmfrcnn.cli.deaths import machine
from mmfrcnn.cli.deaths.machine import is_running, memory, shared_memory

MEMINFO = 'MemTotal:  8388608 kB\nMemFree:  1024 kB\nMemAvailable:  2097152 kB\n'
BOTH = 'the machine has 8.0 GiB, 2.0 GiB of them free now'


def test_a_process_is_running_until_it_has_ended():
    assert is_running(os.getpid())
    assert is_running(1)
    process = multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,))
    process.start()
    assert is_running(process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not is_running(process.pid)  # a zombie, whose parent has not asked yet
    process.join()
    assert not is_running(process.pid)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ('groups', 'limits', 'expected'),
    [
        ('0::/\n', {}, BOTH),
        ('0::/\n', {'memory.max': 'max\n'}, BOTH),
        (
            '0::/\n',
            {'memory.max': str(3 << 29)},
            f'{BOTH}, and this run may use 1.5 GiB',
        ),
        # A job of a cluster, in a group that has a limit of its own.
        (
            '0::/slurm/job_7\n',
            {'memory.max': 'max', 'slurm/job_7/memory.max': str(512 << 20)},
            f'{BOTH}, and this run may use 512 MiB',
        ),
        # The older kind, which writes a huge number for no limit.
        (
            '3:cpu:/\n4:memory:/docker/a:b\n',
            {
                'memory/memory.limit_in_bytes': '9223372036854771712',
                'memory/docker/a:b/memory.limit_in_bytes': str(1 << 30),
            },
            f'{BOTH}, and this run may use 1.0 GiB',
        ),
    ],
)
def test_memory_and_its_limit(tmp_path, groups, limits, expected):
    write(tmp_path / 'proc/meminfo', MEMINFO)
    write(tmp_path / 'proc/self/cgroup', groups)
    for name, text in limits.items():
        write(tmp_path / 'sys/fs/cgroup' / name, text)
    assert memory(tmp_path) == expected


def test_nothing_is_said_where_nobody_can_be_asked(tmp_path, monkeypatch):
    assert memory(tmp_path) == ''
    monkeypatch.setattr(machine, 'SHARED', tmp_path / 'none')
    assert shared_memory() == ''
