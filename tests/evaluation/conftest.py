"""Imports the package before mmdet, which it makes importable."""

import mmfrcnn  # noqa: F401
