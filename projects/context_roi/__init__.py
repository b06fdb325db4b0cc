"""An example of a project on top of mmfrcnn: regions seen with their surroundings.

Importing it registers its part; a config does so with ``custom_imports``.
"""

from __future__ import annotations

from .extractor import ContextRoIExtractor

__all__ = ['ContextRoIExtractor']
