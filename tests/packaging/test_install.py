"""What is packaged, and what the installation leaves alone."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
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


@pytest.fixture
def source(repo_root, tmp_path):
    """Return a copy of what the packages are built from, its links kept."""
    folder = tmp_path / 'source'
    folder.mkdir()
    for name in ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE'):
        shutil.copy(repo_root / name, folder)
    shutil.copy(repo_root / 'model-index.yml', folder)
    for name in ('configs', 'projects', 'requirements', 'tools'):
        ignored = shutil.ignore_patterns('__pycache__', '*.egg-info')
        shutil.copytree(repo_root / name, folder / name, symlinks=True, ignore=ignored)
    # What running a tool leaves.
    (folder / 'tools/__pycache__').mkdir()
    (folder / 'tools/__pycache__/start.cpython-311.pyc').touch()
    return folder


@pytest.fixture
def without_torch(tmp_path):
    """Return an environment in which torch cannot be imported."""
    (tmp_path / 'no_torch').mkdir()
    (tmp_path / 'no_torch' / 'torch.py').write_text('raise RuntimeError("imported")')
    return os.environ | {'PYTHONPATH': str(tmp_path / 'no_torch')}


def files_of_the_package(source):
    """Return what is packaged: modules, a page, configs, tools that work alone."""
    package = source / 'projects/mmfrcnn'
    files = {*package.rglob('*.py'), package / 'report/page.html'}
    files.add(source / 'projects/mmfrcnn_console.py')
    names = {path.relative_to(source / 'projects').as_posix() for path in files}
    files = [path for path in (source / 'configs').rglob('*') if path.is_file()]
    files += [path for path in (source / 'tools').glob('*') if path.is_file()]
    mim = {path.relative_to(source).as_posix() for path in files}
    mim -= {'tools/benchmark.py', 'tools/gpu_check.py'}
    assert len(mim) > 100 and 'tools/dist_train.sh' in mim
    return names | {f'mmfrcnn/.mim/{name}' for name in {*mim, 'model-index.yml'}}


def test_the_wheel_is_whole(source, without_torch, tmp_path):
    """Built without torch: the package, its configs and tools, no example, no test."""
    subprocess.run(
        [
            *(sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps'),
            *('--no-build-isolation', '--no-index', '--wheel-dir', tmp_path, source),
        ],
        env=without_torch,
        check=True,
        timeout=120,
    )
    (wheel,) = tmp_path.glob('mmfrcnn-*.whl')
    names = zipfile.ZipFile(wheel).namelist()
    packaged = {name for name in names if '.dist-info/' not in name}
    assert packaged == files_of_the_package(source)

    zipfile.ZipFile(wheel).extractall(tmp_path / 'site')
    (record,) = (tmp_path / 'site').glob('*.dist-info/entry_points.txt')
    assert 'mmfrcnn = mmfrcnn_console:main' in record.read_text()
    environment = without_torch | {'PYTHONPATH': str(tmp_path / 'site')}
    program = 'from mmfrcnn_console import main; main()'
    for command in (
        [sys.executable, '-c', program, 'doctor', '--help'],
        [sys.executable, tmp_path / 'site/mmfrcnn/.mim/tools/doctor.py', '--help'],
    ):
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert 'what is fine here' in done.stdout, done.stderr


def test_the_source_distribution_is_whole(source, without_torch, tmp_path):
    """It has the files themselves, so a wheel that is built from it has them too."""
    program = 'import setuptools.build_meta as b, sys; b.build_sdist(sys.argv[1])'
    subprocess.run(
        [sys.executable, '-c', program, tmp_path],
        cwd=source,
        env=without_torch,
        capture_output=True,
        check=True,
        timeout=120,
    )
    (archive,) = tmp_path.glob('mmfrcnn-*.tar.gz')
    with tarfile.open(archive) as file:
        members = file.getmembers()
    assert not [member.name for member in members if member.issym() or member.islnk()]
    names = {member.name.partition('/')[2] for member in members if member.isfile()}
    packaged = {f'projects/{name}' for name in files_of_the_package(source)}
    assert packaged | {'setup.py', 'requirements/runtime.txt'} <= names
    assert not [name for name in names if 'benchmark' in name or '__pycache__' in name]


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
