"""A stand-in for ``mmcv._ext``, the compiled part of mmcv.

``mmcv.ops`` imports the compiled module ``mmcv._ext`` and checks that it has every op.
Where no compiled one exists (mmcv-lite), a finder at the *end* of ``sys.meta_path``
serves a module in its place, so a compiled ``mmcv._ext`` always wins. It is a real
module with a ``__spec__``, because mmcv and mmengine look for it by its spec.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NoReturn

NAME = 'mmcv._ext'

REMEDY = (
    'Install a compiled mmcv instead of mmcv-lite (pip uninstall mmcv-lite, then '
    'build mmcv for this torch, or install the onedl-mmcv build for it)'
)


class OpNotServedError(NotImplementedError):
    """An op of compiled mmcv was called that torchvision and torch do not serve."""


def _refuse(name: str) -> Callable[..., NoReturn]:
    """Return a function that stands for the op ``name`` and raises when called."""

    def op(*args: Any, **kwargs: Any) -> NoReturn:
        raise OpNotServedError(
            f"mmcv's compiled op '{name}' is not served by torchvision or plain "
            f'torch. {REMEDY}.'
        )

    op.__name__ = op.__qualname__ = name
    return op


class ExtensionLoader(importlib.abc.Loader):
    """Fills ``mmcv._ext`` with the served ops; all others raise when called."""

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Leave the making of the module to the import system."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the served ops into ``module``, and `_refuse` in place of the others."""
        from mmfrcnn.compat.ops import SERVED

        def __getattr__(name: str) -> Callable[..., NoReturn]:
            if name.startswith('__'):
                raise AttributeError(name)
            return _refuse(name)

        vars(module).update(SERVED, __getattr__=__getattr__)


class ExtensionFinder(importlib.abc.MetaPathFinder):
    """Finds ``mmcv._ext`` when no finder before it did."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """Return a spec for ``mmcv._ext`` and for nothing else."""
        if fullname != NAME:
            return None
        return importlib.machinery.ModuleSpec(
            NAME, ExtensionLoader(), origin='mmfrcnn.compat'
        )


def install() -> None:
    """Append the finder to ``sys.meta_path``, once."""
    if not any(isinstance(finder, ExtensionFinder) for finder in sys.meta_path):
        sys.meta_path.append(ExtensionFinder())
