"""The paper's alternating training in four steps (Ren et al. 2015, section 3.2)."""

from mmfrcnn.training.alternating.detector import AlternatingFasterRCNN
from mmfrcnn.training.alternating.loop import AlternatingTrainLoop

__all__ = ['AlternatingFasterRCNN', 'AlternatingTrainLoop']
