"""The import that mends the stack comes before the stack."""

from __future__ import annotations

import mmfrcnn  # noqa: F401  (before mmcv.ops, which it makes importable)
