"""The doctor names what is broken and its cure, and never breaks itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmfrcnn.compat import doctor
from mmfrcnn.compat.doctor import checks, probes
from mmfrcnn.compat.doctor.probes import Probe

TOOL = Path(__file__).resolve().parents[2] / 'tools/doctor.py'

HEALTHY = {
    'torch': dict(version='2.15.0', built_for=None, available=False, devices=[]),
    'torchvision': dict(version='0.29.2', devices=['cpu']),
    'opencv': dict(version='5.0.0'),
    'numpy': dict(version='2.4.6'),
    'matplotlib': dict(version='3.10.0'),
    'pycocotools': {},
    'mm packages': dict(compiled=None),
}


def examine(folder, monkeypatch, *, versions=None, driver='', **broken):
    """Examine a machine that is healthy but for the given probes and versions."""
    there = {
        'mmengine': '0.10.7',
        'mmcv-lite': '2.1.0',
        'mmdet': '3.3.0',
        'opencv-python': '5.0.0',
        'pycocotools': '2.0.11',
    }
    there.update(versions or {})
    monkeypatch.setattr(checks, 'installed', there.get)
    monkeypatch.setattr(checks, 'nvidia_driver', lambda: driver)
    tried = {name: Probe(found, '') for name, found in HEALTHY.items()}
    for name, result in broken.items():
        name = name.replace('mm_packages', 'mm packages')
        if isinstance(result, str):
            tried[name] = Probe({}, result)
        else:
            tried[name] = Probe(HEALTHY[name] | result, '')
    findings = doctor.examine(folder, tried.__getitem__)
    return {finding.name: finding for finding in findings}


def test_a_healthy_machine_has_nothing_wrong(tmp_path, monkeypatch):
    findings = examine(tmp_path, monkeypatch)
    assert {finding.state for finding in findings.values()} <= {'fine', 'note'}
    assert findings['import mmdet'].state == 'fine'
    assert findings['data/coco'].state == 'note'
    assert 'make-shapes' in findings['data/shapes'].cure


@pytest.mark.parametrize(
    ('broken', 'name', 'says', 'cure'),
    [
        (
            dict(torch="ModuleNotFoundError: No module named 'torch'"),
            'torch',
            "No module named 'torch'",
            'install torch torchvision',
        ),
        (
            dict(torch='OSError: libcudart.so.13: cannot open shared object file'),
            'torch',
            'libcudart',
            'install --force-reinstall torch torchvision',
        ),
        (dict(torch=dict(version='2.9.1+cu128')), 'torch', '2.9.1', "'torch>=2.10'"),
        (
            dict(torchvision='RuntimeError: operator torchvision::nms does not exist'),
            'torchvision',
            'does not match torch 2.15.0',
            'install --force-reinstall torch torchvision',
        ),
        (
            dict(driver='580.1'),
            'CUDA',
            'built for the CPU alone',
            'install --force-reinstall torch torchvision',
        ),
        (
            dict(driver='470.1', torch=dict(built_for='13.2')),
            'CUDA',
            'driver 470.1 does not serve torch built for CUDA 13.2',
            'update the driver',
        ),
        (
            dict(opencv='ImportError: libGL.so.1: cannot open shared object file'),
            'opencv',
            'libGL.so.1',
            'uninstall -y opencv-python && ',
        ),
        (dict(numpy=dict(version='1.26.4')), 'numpy', '1.26.4', "'numpy>=2.0'"),
        (
            dict(pycocotools='ValueError: numpy.dtype size changed'),
            'pycocotools',
            'numpy.dtype size changed',
            '--force-reinstall --no-cache-dir',
        ),
        (
            dict(matplotlib="ValueError: Key backend: 'x' is not a valid value"),
            'matplotlib',
            "'x' is not a valid",
            'unset MPLBACKEND',
        ),
        (
            dict(matplotlib="ModuleNotFoundError: No module named 'matplotlib'"),
            'matplotlib',
            'No module named',
            "install 'matplotlib>=3.9'",
        ),
        (
            dict(versions={'mmcv': '2.1.0'}),
            'mmcv',
            'over each other in one folder: mmcv-lite 2.1.0, mmcv 2.1.0',
            'uninstall -y mmcv-lite mmcv && ',
        ),
        (
            dict(versions={'mmcv-lite': None, 'mmcv': '2.2.0'}),
            'mmcv',
            'mmcv 2.2.0: mmdet wants 2.0 or 2.1',
            'uninstall -y mmcv && ',
        ),
        (
            dict(mm_packages='ImportError: mmcv/_ext.so: undefined symbol: _ZN2at'),
            'import mmdet',
            'compiled part does not match torch',
            'uninstall -y mmcv-lite && ',
        ),
        (
            dict(mm_packages="ModuleNotFoundError: No module named 'shapely'"),
            'import mmdet',
            "No module named 'shapely'",
            'install shapely',
        ),
        (
            dict(
                versions={'mmcv-lite': None, 'onedl-mmcv': '2.3.6'},
                mm_packages='AssertionError: MMCV==2.3.6 is used but incompatible.',
            ),
            'import mmdet',
            'MMCV==2.3.6 is used but incompatible',
            'mmdet && ' + checks.PIP + ' install onedl-mmengine onedl-mmcv onedl-mmdet',
        ),
    ],
)
def test_names_the_fault_and_its_cure(tmp_path, monkeypatch, broken, name, says, cure):
    finding = examine(tmp_path, monkeypatch, **broken)[name]
    assert finding.state == 'wrong'
    assert says in finding.says
    assert cure in finding.cure


def test_a_missing_package_is_not_blamed_on_what_needs_it(tmp_path, monkeypatch):
    error = "ModuleNotFoundError: No module named 'torch'"
    findings = examine(
        tmp_path, monkeypatch, torch=error, torchvision=error, mm_packages=error
    )
    wrong = [name for name, finding in findings.items() if finding.state == 'wrong']
    assert wrong == ['torch']


def test_the_onedl_forks_are_fine(tmp_path, monkeypatch):
    upstream = dict.fromkeys(['mmengine', 'mmcv-lite', 'mmdet'])
    forks = {
        'onedl-mmengine': '0.10.9',
        'onedl-mmcv': '2.3.6',
        'onedl-mmdetection': '3.4.0',
    }
    findings = examine(tmp_path, monkeypatch, versions=upstream | forks)
    for name in ('mmengine', 'mmcv', 'mmdet'):
        assert findings[name].state == 'fine'
        assert 'onedl' in findings[name].says


def test_data_that_is_there_and_incomplete(tmp_path, monkeypatch):
    annotations = tmp_path / 'data/coco/annotations'
    annotations.mkdir(parents=True)
    assert examine(tmp_path, monkeypatch)['data/coco'].state == 'wrong'
    (annotations / 'instances_val2017.json').touch()
    assert examine(tmp_path, monkeypatch)['data/coco'].state == 'fine'


def test_a_full_disk_is_wrong(tmp_path, monkeypatch):
    usage = checks.shutil.disk_usage(tmp_path)._replace(free=10**8)
    monkeypatch.setattr(checks.shutil, 'disk_usage', lambda folder: usage)
    finding = examine(tmp_path, monkeypatch)['disk']
    assert finding.state == 'wrong'
    assert '0.1 GB' in finding.says


def test_a_probe_that_crashes_or_hangs_is_reported(monkeypatch):
    crash = 'import os, signal; os.kill(os.getpid(), signal.SIGSEGV)'
    monkeypatch.setitem(probes.PROBES, 'numpy', crash)
    assert probes.run_probe('numpy').error == 'crashed with signal 11'
    monkeypatch.setitem(probes.PROBES, 'numpy', 'import time; time.sleep(60)')
    monkeypatch.setattr(probes, 'SECONDS', 1)
    assert 'did not answer' in probes.run_probe('numpy').error


def fake_package(folder, name, body):
    """Put a package first on the path that runs ``body`` when it is imported."""
    (folder / name).mkdir()
    (folder / name / '__init__.py').write_text(body)


def run_tool(*arguments, path=''):
    environment = os.environ | {'PYTHONPATH': str(path), 'OMP_NUM_THREADS': '1'}
    return subprocess.run(
        [sys.executable, str(TOOL), *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )


def test_tool_survives_broken_packages(tmp_path):
    libgl = 'libGL.so.1: cannot open shared object file: No such file or directory'
    fake_package(tmp_path, 'torch', "raise OSError('torch is broken here')")
    fake_package(tmp_path, 'cv2', f"raise ImportError('{libgl}')")
    fake_package(tmp_path, 'mmengine', 'import os; os.abort()')
    done = run_tool('--json', path=tmp_path)
    assert done.returncode == 1, done.stderr
    findings = {finding['name']: finding for finding in json.loads(done.stdout)}
    assert findings['torch']['state'] == findings['opencv']['state'] == 'wrong'
    assert 'torch is broken here' in findings['torch']['says']
    assert 'opencv-python-headless' in findings['opencv']['cure']
    assert findings['Python']['state'] == findings['numpy']['state'] == 'fine'


def test_help_has_an_example():
    done = run_tool('--help')
    assert done.returncode == 0
    assert 'python tools/doctor.py --json' in done.stdout
