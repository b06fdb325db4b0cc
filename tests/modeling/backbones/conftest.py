"""Imports the package before the tests import mmdet."""

import mmfrcnn  # noqa: F401
