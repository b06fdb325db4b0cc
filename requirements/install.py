"""Install mmfrcnn, editable and with its tools, into the environment that runs this.

    python requirements/install.py

Of the OpenMMLab stack (requirements/lite.txt) it installs what is missing and leaves
alone what is there: mmcv-lite and a compiled mmcv live in the same folder, so either
would overwrite the other, and so would the OneDL forks.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMPORT_NAMES = {'mmcv-lite': 'mmcv', 'mmdet': 'mmdet', 'mmengine': 'mmengine'}


def missing_from_stack() -> list[str]:
    """Return the requirements of lite.txt whose import name no other package has."""
    installed = packages_distributions()
    wanted = []
    for line in (ROOT / 'requirements/lite.txt').read_text().splitlines():
        if line.startswith('#'):
            continue
        name = line.partition('==')[0]
        others = set(installed.get(IMPORT_NAMES[name], [])) - {name}
        if others:
            print(f'{name}: not installed, {", ".join(sorted(others))} is in its place')
        else:
            wanted.append(line)
    return wanted


def pip(*arguments: str) -> None:
    """Run pip in this environment; end the program if it fails."""
    command = [sys.executable, '-m', 'pip', '--disable-pip-version-check', *arguments]
    if subprocess.run(command, cwd=ROOT).returncode:
        sys.exit(f'error: pip {arguments[0]} failed; see its message above')


def cv2_imports() -> bool:
    """Say whether OpenCV can be imported, in a fresh interpreter."""
    return subprocess.run([sys.executable, '-c', 'import cv2']).returncode == 0


def main() -> None:
    """Install everything, then see that OpenCV works."""
    pip('install', '--editable', '.[dev]', *missing_from_stack())
    if not cv2_imports():
        # mmengine asks for opencv-python, which needs libGL; the headless build is the
        # same module without windows.
        print('opencv-python does not import here; taking the headless build instead')
        pip('uninstall', '--yes', 'opencv-python')
        pip('install', '--force-reinstall', '--no-deps', 'opencv-python-headless')
        if not cv2_imports():
            sys.exit('error: OpenCV does not import; see the message above')


if __name__ == '__main__':
    main()
