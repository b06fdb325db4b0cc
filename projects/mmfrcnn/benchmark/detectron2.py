"""detectron2's Faster R-CNN as a contender, where it can be imported."""

from __future__ import annotations

from .contenders import Contender


class Detectron2(Contender):
    """Faster R-CNN R50-FPN of detectron2's model zoo."""

    name = 'detectron2'

    @classmethod
    def version(cls) -> str:
        """Return detectron2's version."""
        import detectron2

        return detectron2.__version__
