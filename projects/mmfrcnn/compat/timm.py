"""The package timm, which is the extra ``timm``: imported when it is asked for."""

from __future__ import annotations

from types import ModuleType

from mmfrcnn.errors import UserError


def package() -> ModuleType:
    """Return the package.

    Raises:
        UserError: If it is not installed.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise UserError(
            f'networks of timm need the package {error.name}, which is not installed: '
            'pip install "mmfrcnn[timm]"'
        ) from None
    return timm
