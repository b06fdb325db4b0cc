"""What a figure was measured on."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import torch
import torchvision

from mmfrcnn.cores import usable_cores


def describe_machine(device: str) -> dict[str, str]:
    """Return processor, cores, threads, GPU, driver, versions and date, in words."""
    facts = {
        'processor': f'{_processor()}, {usable_cores()} cores, '
        f'{_memory_gib():.0f} GiB of memory',
        'threads': str(torch.get_num_threads()),
    }
    if device.startswith('cuda'):
        card = torch.cuda.get_device_properties(device)
        facts['GPU'] = (
            f'{card.name}, {card.total_memory / 2**30:.0f} GiB, '
            f'sm_{card.major}{card.minor}, driver {_driver()}'
        )
        facts['CUDA'] = f'{torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}'
        facts['float32'] = (
            f'products of matrices: {torch.get_float32_matmul_precision()}'
        )
    facts['versions'] = (
        f'Python {platform.python_version()}, torch {torch.__version__}, '
        f'torchvision {torchvision.__version__}'
    )
    with suppress(metadata.PackageNotFoundError):
        facts['versions'] += f', Triton {metadata.version("triton")}'
    facts['date'] = datetime.date.today().isoformat()
    return facts


def _processor() -> str:
    capability = torch.backends.cpu.get_cpu_capability()
    cpuinfo = Path('/proc/cpuinfo')
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith('model name'):
                return f'{line.partition(":")[2].strip()} ({capability})'
    return f'{platform.processor() or platform.machine()} ({capability})'


def _driver() -> str:
    command = ['nvidia-smi', '--query-gpu=driver_version', '--format=csv,noheader']
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return 'unknown'
    return done.stdout.partition('\n')[0].strip() or 'unknown'


def _memory_gib() -> float:
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30


def peak_memory_gib(device: str) -> float:
    """Return the largest memory that this process has had: of the GPU, or the host's.

    The host's is that of this process image alone (``VmHWM``); ``getrusage`` would
    report the parent's for a child that was forked from a large one.
    """
    if device.startswith('cuda'):
        return torch.cuda.max_memory_allocated(device) / 2**30
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith('VmHWM'):
            return int(line.split()[1]) / 2**20
    return float('nan')
