"""The detector's parts, a file each, registered in mmdet's registries.

Image to box in reading order: backbones, rpn_head (anchors, assigner, sampler,
proposals), roi_head (roi_extractor, box_stage, detections; mask_branch for masks,
cascade_roi_head for several stages), detector.
"""

from mmfrcnn.modeling.assigner import AnchorAssigner
from mmfrcnn.modeling.backbones import TimmBackbone, TorchvisionBackbone
from mmfrcnn.modeling.cascade_roi_head import BatchedCascadeRoIHead
from mmfrcnn.modeling.detector import BatchedFasterRCNN
from mmfrcnn.modeling.roi_extractor import PyramidRoIExtractor
from mmfrcnn.modeling.roi_head import BatchedRoIHead
from mmfrcnn.modeling.rpn_head import RegionProposalHead
from mmfrcnn.modeling.sampler import BalancedSampler
from mmfrcnn.modeling.vgg_head import VGGBBoxHead

__all__ = [
    'AnchorAssigner',
    'BalancedSampler',
    'BatchedCascadeRoIHead',
    'BatchedFasterRCNN',
    'BatchedRoIHead',
    'PyramidRoIExtractor',
    'RegionProposalHead',
    'TimmBackbone',
    'TorchvisionBackbone',
    'VGGBBoxHead',
]
