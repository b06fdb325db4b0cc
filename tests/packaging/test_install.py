"""What is packaged, and what the installation leaves alone."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile

import pytest


@pytest.fixture
def installer(repo_root):
    """Return requirements/install.py as a module."""
    path = repo_root / 'requirements' / 'install.py'
    spec = importlib.util.spec_from_file_location('install', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ('installed', 'wanted'),
    [
        ({}, {'mmcv-lite', 'mmdet', 'mmengine'}),
        ({'mmcv': ['mmcv-lite']}, {'mmcv-lite', 'mmdet', 'mmengine'}),
        ({'mmcv': ['mmcv']}, {'mmdet', 'mmengine'}),
        ({'mmcv': ['mmcv', 'mmcv-lite']}, {'mmdet', 'mmengine'}),
        ({'mmcv': ['onedl-mmcv'], 'mmengine': ['onedl-mmengine']}, {'mmdet'}),
    ],
)
def test_takes_no_other_packages_place(installer, monkeypatch, installed, wanted):
    monkeypatch.setattr(installer, 'packages_distributions', lambda: installed)
    names = {line.partition('==')[0] for line in installer.missing_from_stack()}
    assert names == wanted


def test_takes_headless_opencv_where_the_other_does_not_import(installer, monkeypatch):
    calls, imports = [], iter([False, True])
    monkeypatch.setattr(installer, 'pip', lambda *words: calls.append(words))
    monkeypatch.setattr(installer, 'cv2_imports', lambda: next(imports))
    installer.main()
    assert ('uninstall', '--yes', 'opencv-python') in calls
    assert 'opencv-python-headless' in calls[-1]


def test_wheel_holds_the_package_alone(repo_root, tmp_path):
    """Built without torch, it has every module of mmfrcnn and no example or test."""
    source = tmp_path / 'source'
    shutil.copytree(
        repo_root,
        source,
        ignore=shutil.ignore_patterns(
            '.*', '__pycache__', 'data', 'work_dirs', '*.pth'
        ),
    )
    (tmp_path / 'no_torch').mkdir()
    (tmp_path / 'no_torch' / 'torch.py').write_text('raise RuntimeError("imported")')
    subprocess.run(
        [
            *(sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps'),
            *('--no-build-isolation', '--no-index', '--wheel-dir', tmp_path, source),
        ],
        env=os.environ | {'PYTHONPATH': str(tmp_path / 'no_torch')},
        check=True,
        timeout=120,
    )
    (wheel,) = tmp_path.glob('mmfrcnn-*.whl')
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {
        str(path.relative_to(source / 'projects'))
        for path in (source / 'projects' / 'mmfrcnn').rglob('*.py')
    }
    assert modules <= names
    packaged = {name for name in names if '.dist-info/' not in name}
    assert {name.split('/')[0] for name in packaged} == {'mmfrcnn'}


def test_make_installs_once(repo_root, tmp_path):
    """A second `make install` does nothing; a changed requirement installs again."""
    stamp = tmp_path / '.venv' / '.installed'
    for name in ('Makefile', 'setup.py', 'requirements'):
        copy = shutil.copytree if (repo_root / name).is_dir() else shutil.copy
        copy(repo_root / name, tmp_path / name)

    def up_to_date():
        command = ['make', '--question', 'install']
        return subprocess.run(command, cwd=tmp_path).returncode == 0

    assert not up_to_date()
    stamp.parent.mkdir()
    stamp.touch()
    os.utime(stamp, (2e9, 2e9))
    assert up_to_date()
    os.utime(tmp_path / 'requirements' / 'lite.txt', (2.1e9, 2.1e9))
    assert not up_to_date()
