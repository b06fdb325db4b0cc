"""mmfrcnn first: it makes mmdet importable."""

import mmfrcnn  # noqa: F401
