"""What mmengine asks of setuptools and Python that newer ones no longer have.

mmengine looks packages up with ``pkg_resources``, which setuptools dropped in version
82 (and which a Python 3.12 environment lacks from the start), and modules with
``pkgutil.find_loader``, which Python dropped in version 3.14.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.utils import package_utils


def is_installed(package: str) -> bool:
    """Tell whether a package is installed, by distribution or by module name."""
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        spec = importlib.util.find_spec(package)
        return spec is not None and spec.origin is not None
    return True


def package2module(package: str) -> str:
    """Return the name of the first module of a distribution."""
    text = importlib.metadata.distribution(package).read_text('top_level.txt')
    if not text:
        raise ValueError(f'can not infer the module name of {package}')
    return text.split('\n')[0]


def get_installed_path(package: str) -> str:
    """Return the folder of an installed package: of the one that would be imported.

    An editable install has its files elsewhere, and one on ``PYTHONPATH`` comes first.
    """
    spec = importlib.util.find_spec(package)
    if spec is None:
        package = package2module(package)
        spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise RuntimeError(f'{package} has no folder: it is a namespace package')
    return str(Path(spec.origin).parent)


def install() -> None:
    """Mend `mmengine` where `pkg_resources` or `pkgutil.find_loader` is missing.

    Its `get_installed_path` is wrong about editable installs with `pkg_resources` too.
    """
    mends: list[Callable[..., Any]] = [get_installed_path]
    if importlib.util.find_spec('pkg_resources') is None:
        mends += [is_installed, package2module]
    for mend in mends:
        _replace(getattr(package_utils, mend.__name__), mend)
    if not hasattr(pkgutil, 'find_loader'):
        # A spec stands for the loader: both uses only ask whether there is one.
        vars(pkgutil)['find_loader'] = importlib.util.find_spec


def _replace(old: Callable[..., Any], new: Callable[..., Any]) -> None:
    """Put ``new`` wherever a module of mmengine has imported ``old``."""
    for name, module in list(sys.modules.items()):
        of_mmengine = name.partition('.')[0] == 'mmengine'
        if of_mmengine and vars(module).get(new.__name__) is old:
            setattr(module, new.__name__, new)
