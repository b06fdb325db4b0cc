"""Importing the package makes mmdet's own modules importable."""

import mmfrcnn  # noqa: F401
