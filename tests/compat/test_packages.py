"""mmengine's look-ups of packages, without setuptools' ``pkg_resources``."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import pkgutil
from pathlib import Path

import mmengine.config
import mmengine.utils
import pytest
from mmengine.config import Config
from mmengine.utils import package_utils

from mmfrcnn.compat import packages

NAMES = ('is_installed', 'get_installed_path', 'package2module')


@pytest.fixture
def mended(monkeypatch):
    """The mend, made as where ``pkg_resources`` is missing; undone after."""
    users = [package_utils, mmengine.utils, mmengine.config.config]
    for name in NAMES:
        original = getattr(package_utils, name)

        def asks_setuptools(package):
            raise AssertionError('mmengine looks for pkg_resources')

        for module in users:
            if vars(module).get(name) is original:
                monkeypatch.setattr(module, name, asks_setuptools)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        'find_spec',
        lambda name, *args: None if name == 'pkg_resources' else find_spec(name, *args),
    )
    packages.install()


def test_is_installed(mended):
    assert mmengine.utils.is_installed('mmdet')
    assert mmengine.utils.is_installed('mmfrcnn')  # on the path, maybe not by pip
    assert mmengine.utils.is_installed('pyyaml')  # its module is called yaml
    assert not mmengine.utils.is_installed('no_such_package')


def test_get_installed_path(mended):
    for name in ('mmdet', 'mmengine', 'mmfrcnn'):
        spec = importlib.util.find_spec(name)
        path = mmengine.utils.get_installed_path(name)
        assert Path(path).samefile(Path(spec.origin).parent)
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        mmengine.utils.get_installed_path('no_such_package')


@pytest.mark.parametrize('kind', ['wheel', 'editable', 'PYTHONPATH'])
def test_the_folder_is_the_one_that_is_imported(kind, tmp_path, monkeypatch):
    """Whatever `pkg_resources` would say: it gives editable installs a wrong one."""
    packages.install()
    site, elsewhere = tmp_path / 'site', tmp_path / 'elsewhere'
    record = site / 'some_thing-1.0.dist-info'
    record.mkdir(parents=True)
    (record / 'METADATA').write_text('Metadata-Version: 2.1\nName: some_thing\n')
    (record / 'top_level.txt').write_text('some_thing\n')
    holders = {
        'wheel': [site],
        'editable': [elsewhere],
        'PYTHONPATH': [elsewhere, site],
    }
    for holder in holders[kind]:
        (holder / 'some_thing').mkdir(parents=True)
        (holder / 'some_thing' / '__init__.py').touch()
    for folder in (site, *holders[kind][:1]):
        monkeypatch.syspath_prepend(str(folder))
    path = mmengine.utils.get_installed_path('some_thing')
    assert Path(path) == holders[kind][0] / 'some_thing'


def test_a_distribution_named_otherwise(mended, tmp_path, monkeypatch):
    """Its list of modules says what it is imported as."""
    record = tmp_path / 'some_thing-1.0.dist-info'
    record.mkdir()
    (record / 'METADATA').write_text('Metadata-Version: 2.1\nName: some-thing\n')
    (record / 'top_level.txt').write_text('thing\n')
    (tmp_path / 'thing').mkdir()
    (tmp_path / 'thing' / '__init__.py').touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert mmengine.utils.is_installed('some-thing')
    assert package_utils.package2module('some-thing') == 'thing'
    path = mmengine.utils.get_installed_path('some-thing')
    assert Path(path) == tmp_path / 'thing'
    (record / 'top_level.txt').unlink()
    with pytest.raises(ValueError, match='some-thing'):
        package_utils.package2module('some-thing')


def test_a_namespace_package_has_no_path(mended, tmp_path, monkeypatch):
    (tmp_path / 'only_a_folder').mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not mmengine.utils.is_installed('only_a_folder')
    with pytest.raises(RuntimeError, match='namespace package'):
        mmengine.utils.get_installed_path('only_a_folder')


def test_bases_of_other_packages(mended):
    """``mmdet::`` looks mmdet's folder up."""
    cfg = Config.fromstring(
        "_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'", '.py'
    )
    assert cfg.model.type == 'FasterRCNN'


def test_python_without_find_loader(monkeypatch):
    """Python 3.14 dropped it; mmengine and mmcv ask it for mmcv's compiled part."""
    from mmcv.utils.ext_loader import check_ops_exist
    from mmengine.utils.dl_utils.misc import mmcv_full_available

    monkeypatch.delattr(pkgutil, 'find_loader', raising=False)
    with pytest.raises(AttributeError):
        check_ops_exist()
    packages.install()
    assert check_ops_exist()
    assert mmcv_full_available()
    assert pkgutil.find_loader('no_such_package') is None
