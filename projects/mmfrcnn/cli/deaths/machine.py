"""What is left of this machine: processes, memory, shared memory, open files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

SHARED = Path('/dev/shm')


def is_running(pid: int) -> bool:
    """Whether a process of this machine is there, and not just a zombie's name.

    Windows cannot be asked without sending the process a signal: there it is.
    """
    if sys.platform == 'win32':
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        pass
    try:
        status = Path(f'/proc/{pid}/stat').read_text(errors='replace')
    except OSError:  # there is no /proc, or the process has just gone
        return True
    return status.rpartition(')')[2].split()[:1] != ['Z']


def memory(root: Path = Path('/')) -> str:
    """Say how much memory there is, and is free now; '' where nobody can be asked.

    Args:
        root (Path): Where ``proc`` and ``sys`` are.

    Example:
        >>> memory()  # doctest: +SKIP
        'the machine has 15.6 GiB, 14.9 GiB of them free now'
    """
    try:
        lines = (root / 'proc/meminfo').read_text().splitlines()
        kib = {name: int(rest.split()[0]) for name, rest in map(_field, lines)}
        total, free = kib['MemTotal'] * 1024, kib['MemAvailable'] * 1024
        limit = min(_limits(root), default=total)
    except (OSError, KeyError, ValueError, IndexError):
        return ''
    said = f'the machine has {_size(total)}, {_size(free)} of them free now'
    return said if limit >= total else f'{said}, and this run may use {_size(limit)}'


def in_brackets(text: str) -> str:
    """Return what is put behind a sentence, if there is anything to say."""
    return f' ({text})' if text else ''


def _limits(root: Path) -> Iterator[int]:
    """Read what a container or a cluster's job may use: its control groups' limits."""
    groups = (root / 'proc/self/cgroup').read_text().splitlines()
    for _, controllers, path in (line.split(':', 2) for line in groups):
        if not controllers:
            top, name = root / 'sys/fs/cgroup', 'memory.max'
        elif 'memory' in controllers.split(','):
            top, name = root / 'sys/fs/cgroup/memory', 'memory.limit_in_bytes'
        else:
            continue
        own = top / path.lstrip('/')
        for folder in (own, *own.parents):
            if folder.is_relative_to(top) and (folder / name).is_file():
                text = (folder / name).read_text().strip()
                if text.isdigit():  # 'max' is none
                    yield int(text)


def shared_memory() -> str:
    """Say how large /dev/shm is, and how much of it is free now; '' without one."""
    try:
        found = os.statvfs(SHARED)
    except (OSError, AttributeError):
        return ''
    size, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    return f'{SHARED} has {_size(size)}, {_size(free)} of them free now'


def open_files() -> str:
    """Say how many files a process may have open; '' where nobody can be asked."""
    try:
        import resource  # there is none on Windows
    except ImportError:
        return ''
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f'a process may have {limit} open'


def _field(line: str) -> tuple[str, str]:
    name, _, rest = line.partition(':')
    return name, rest


def _size(number: int) -> str:
    """Write a number of bytes in the unit that suits it."""
    gib = number / 2**30
    return f'{gib:.1f} GiB' if gib >= 1 else f'{number / 2**20:.0f} MiB'
