"""What each line of the doctor's report says, and the command that cures it."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from .probes import Probe

PIP = f'{sys.executable} -m pip'
LEAST_FREE_GB = 3

# Distributions that install under the same import name: only one can be there.
PROVIDERS = {
    'mmengine': ('mmengine', 'onedl-mmengine'),
    'mmcv': ('mmcv-lite', 'mmcv', 'mmcv-full', 'onedl-mmcv'),
    'mmdet': ('mmdet', 'onedl-mmdetection'),
}
DEFAULTS = {
    'mmengine': 'mmengine==0.10.7',
    'mmcv': 'mmcv-lite==2.1.0',
    'mmdet': 'mmdet==3.3.0',
}

# Folder and a file that a complete data set has, and the command that gets it.
DATA = {
    'data/coco': (
        'annotations/instances_val2017.json',
        'link COCO 2017, from https://cocodataset.org/#download: '
        'mkdir -p data && ln -s /your/coco data/coco',
    ),
    'data/shapes': ('.', 'mmfrcnn make-shapes (training makes it as well)'),
    'data/bccd': (
        'ImageSets/Main/trainval.txt',
        'git clone https://github.com/Shenggan/BCCD_Dataset && '
        'mkdir -p data && ln -s ../BCCD_Dataset/BCCD data/bccd',
    ),
}


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        name (str): What was looked at.
        state (str): 'fine', 'wrong' or 'note' (nothing wrong, but worth knowing).
        says (str): What was found.
        cure (str): The command that mends or adds it, '' where there is no need.
    """

    name: str
    state: str
    says: str
    cure: str = ''


def installed(distribution: str) -> str | None:
    """Return the installed version of a distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version.

    Example:
        >>> numbers('2.10.1+cu128')
        (2, 10, 1)
        >>> numbers('2.2.0rc1')
        (2, 2)
    """
    parts = version.partition('+')[0].split('.')
    return tuple(int(part) for part in parts if part.isdecimal())


def check_python() -> Finding:
    """Python 3.10 or later."""
    version = '.'.join(map(str, sys.version_info[:3]))
    if sys.version_info < (3, 10):  # noqa: UP036 -- the doctor must say so itself
        cure = 'python3.12 -m venv .venv && . .venv/bin/activate (any of 3.10 to 3.13)'
        return Finding('Python', 'wrong', f'{version} is older than 3.10', cure)
    if sys.version_info >= (3, 14):
        return Finding('Python', 'note', f'{version}: 3.10 to 3.13 are the ones tried')
    return Finding('Python', 'fine', f'{version} ({sys.executable})')


def check_torch(torch: Probe) -> Finding:
    """A torch that imports and is recent enough."""
    if torch.error:
        again = '' if torch.missing == 'torch' else '--force-reinstall '
        cure = f'{PIP} install {again}torch torchvision'
        return Finding('torch', 'wrong', torch.error, cure)
    version = torch.found['version']
    if numbers(version) < (2, 10):
        cure = f"{PIP} install --upgrade 'torch>=2.10' torchvision"
        return Finding('torch', 'wrong', f'{version} is older than 2.10', cure)
    return Finding('torch', 'fine', version)


def check_torchvision(torch: Probe, torchvision: Probe) -> Finding:
    """A torchvision whose compiled operators run with this torch."""
    if not torchvision.error:
        found = torchvision.found
        says = f'{found["version"]}, its nms runs on {" and ".join(found["devices"])}'
        return Finding('torchvision', 'fine', says)
    if torch.error:
        return Finding('torchvision', 'note', 'not tried: torch comes first')
    says = torchvision.error
    if torchvision.missing != 'torchvision':
        says = f'does not match torch {torch.found["version"]}: {says}'
    cure = f'{PIP} install --force-reinstall torch torchvision'
    return Finding('torchvision', 'wrong', says, cure)


def nvidia_driver() -> str:
    """Return the NVIDIA driver's version, or '' where there is none."""
    if not shutil.which('nvidia-smi'):
        return ''
    query = ['nvidia-smi', '--query-gpu=driver_version', '--format=csv,noheader']
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ''
    return '' if done.returncode else done.stdout.partition('\n')[0].strip()


def check_cuda(torch: Probe, driver: str) -> Finding:
    """A GPU that torch can use, where the machine has one."""
    if torch.error:
        return Finding('CUDA', 'note', 'not tried: torch comes first')
    built_for, devices = torch.found['built_for'], torch.found['devices']
    if torch.found['available']:
        says = f'{len(devices)} x {devices[0]}, torch built for {built_for}'
        return Finding('CUDA', 'fine', says + (f', driver {driver}' if driver else ''))
    if not driver:
        return Finding('CUDA', 'note', 'no NVIDIA driver: everything runs on the CPU')
    if not built_for:
        says = f'driver {driver}, but this torch is built for the CPU alone'
        cure = f'{PIP} install --force-reinstall torch torchvision'
        return Finding('CUDA', 'wrong', says, cure)
    says = f'driver {driver} does not serve torch built for CUDA {built_for}'
    cure = (
        f'{PIP} install --force-reinstall torch torchvision '
        '--index-url https://download.pytorch.org/whl/cu126 (or update the driver)'
    )
    return Finding('CUDA', 'wrong', says, cure)


def check_provider(module: str) -> Finding:
    """Exactly one distribution provides mmengine, mmcv or mmdet."""
    versions = {name: installed(name) for name in PROVIDERS[module]}
    there = {name: version for name, version in versions.items() if version}
    listed = ', '.join(f'{name} {version}' for name, version in there.items())
    if len(there) > 1:
        names = ' '.join(there)
        cure = f'{PIP} uninstall -y {names} && {PIP} install {DEFAULTS[module]}'
        return Finding(
            module, 'wrong', f'installed over each other in one folder: {listed}', cure
        )
    if not there:
        if importlib.util.find_spec(module):
            return Finding(module, 'note', 'found on the path, not installed by pip')
        cure = f'{PIP} install {DEFAULTS[module]}'
        return Finding(module, 'wrong', 'not installed', cure)
    name, version = next(iter(there.items()))
    if name in ('mmcv', 'mmcv-lite') and not (2, 0) <= numbers(version) < (2, 2):
        cure = f'{PIP} uninstall -y {name} && {PIP} install {DEFAULTS[module]}'
        return Finding(module, 'wrong', f'{listed}: mmdet wants 2.0 or 2.1', cure)
    return Finding(module, 'fine', listed)


def check_stack(stack: Probe, providers: list[Finding], basics: bool) -> Finding:
    """``import mmfrcnn`` makes all of mmdet import."""
    if not stack.error:
        compiled = stack.found['compiled']
        says = (
            f'compiled, {compiled}' if compiled else 'served by torch and torchvision'
        )
        return Finding('import mmdet', 'fine', f"works; mmcv's operators {says}")
    if not basics or any(finding.state == 'wrong' for finding in providers):
        return Finding(
            'import mmdet', 'note', 'not possible before the above is mended'
        )
    if stack.missing and '.' not in stack.missing:
        cure = f'{PIP} install {stack.missing}'
        return Finding('import mmdet', 'wrong', stack.error, cure)
    there = {
        module: name
        for module, names in PROVIDERS.items()
        for name in names
        if installed(name)
    }
    if '_ext' in stack.error and 'mmcv' in there:
        name = there['mmcv']
        says = f"{name}'s compiled part does not match torch: {stack.error}"
        cure = f'{PIP} uninstall -y {name} && {PIP} install {DEFAULTS["mmcv"]}'
        return Finding('import mmdet', 'wrong', says, cure)
    # Upstream and fork mixed, or files lost: all three again, of one kind.
    again = ' '.join(DEFAULTS.values())
    if any(name.startswith('onedl') for name in there.values()):
        again = 'onedl-mmengine onedl-mmcv onedl-mmdetection'
    cure = f'{PIP} uninstall -y {" ".join(there.values())} && {PIP} install {again}'
    return Finding('import mmdet', 'wrong', stack.error, cure)


def check_opencv(opencv: Probe) -> Finding:
    """An OpenCV that imports: the usual build needs libGL, which servers lack."""
    builds = ['opencv-python', 'opencv-contrib-python', 'opencv-python-headless']
    there = [name for name in builds if installed(name)]
    if not opencv.error:
        listed = ', '.join(there) or 'not installed by pip'
        return Finding('opencv', 'fine', f'{opencv.found["version"]} ({listed})')
    cure = f'{PIP} install --force-reinstall --no-deps opencv-python-headless'
    if there:
        cure = f'{PIP} uninstall -y {" ".join(there)} && {cure}'
    return Finding('opencv', 'wrong', opencv.error, cure)


def check_package(name: str, probe: Probe, least: str) -> Finding:
    """A package that imports, runs and is not older than ``least``."""
    version = probe.found.get('version') or installed(name) or 'version unknown'
    if probe.error:
        again = '' if probe.missing == name else '--force-reinstall --no-cache-dir '
        cure = f"{PIP} install {again}'{name}>={least}'"
        return Finding(name, 'wrong', probe.error, cure)
    if numbers(version) and numbers(version) < numbers(least):
        cure = f"{PIP} install --upgrade '{name}>={least}'"
        return Finding(name, 'wrong', f'{version} is older than {least}', cure)
    return Finding(name, 'fine', version)


def check_matplotlib(matplotlib: Probe) -> Finding:
    """A matplotlib that draws: mmengine's pictures are made with it."""
    if 'backend' in matplotlib.error:
        return Finding('matplotlib', 'wrong', matplotlib.error, 'unset MPLBACKEND')
    return check_package('matplotlib', matplotlib, '3.9')


def check_setuptools() -> Finding:
    """Any setuptools or none: mmengine's use of ``pkg_resources`` is mended."""
    version = installed('setuptools')
    if importlib.util.find_spec('pkg_resources'):
        return Finding('setuptools', 'fine', f'{version}')
    says = (
        f'{version or "none"}, without pkg_resources: mmfrcnn mends mmengine for that'
    )
    return Finding('setuptools', 'fine', says)


def check_disk(folder: Path) -> Finding:
    """Room for checkpoints."""
    free = shutil.disk_usage(folder).free / 1e9
    says = f'{free:.1f} GB free in {folder}'
    if free < LEAST_FREE_GB:
        cure = f'du -xh --max-depth=2 {folder} | sort -h | tail -20 (and delete)'
        return Finding('disk', 'wrong', f'{says}: a training writes more', cure)
    return Finding('disk', 'fine', says)


def check_data(folder: Path) -> Iterator[Finding]:
    """The data sets of the configs; their absence is not an error."""
    for name, (file, cure) in DATA.items():
        if (folder / name / file).exists():
            yield Finding(name, 'fine', 'there')
        elif (folder / name).exists():
            yield Finding(name, 'wrong', f'incomplete: it has no {file}', cure)
        else:
            yield Finding(name, 'note', 'not there', cure)
