"""torchvision's Faster R-CNN as a contender."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torchvision
from torch import Tensor, nn
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.ops.misc import FrozenBatchNorm2d

from mmfrcnn.training.stages import Region
from mmfrcnn_benchmark.contenders import (
    PROPOSALS,
    PROPOSALS_BEFORE_NMS,
    SCORE_THRESHOLD,
    Contender,
)
from mmfrcnn_benchmark.weights import shared_weights, torchvision_weights
from mmfrcnn_benchmark.workload import Scene


class TorchVision(Contender):
    """``fasterrcnn_resnet50_fpn``, its batch norm frozen as with pretrained weights.

    Its own choices stay: RoIAlign takes 2 x 2 samples a cell where mmdet's config (and
    ours) takes as many as the region's size asks for.
    """

    name = 'torchvision'

    @classmethod
    def version(cls) -> str:
        """Return torchvision's version."""
        return torchvision.__version__

    def build(self) -> nn.Module:
        """Build it with the shared weights."""
        model: Any = fasterrcnn_resnet50_fpn(
            weights=None,
            weights_backbone=None,
            num_classes=self.work.classes + 1,
            norm_layer=FrozenBatchNorm2d,
            rpn_pre_nms_top_n_train=PROPOSALS_BEFORE_NMS[True],
            rpn_pre_nms_top_n_test=PROPOSALS_BEFORE_NMS[False],
            rpn_post_nms_top_n_train=PROPOSALS,
            rpn_post_nms_top_n_test=PROPOSALS,
            box_score_thresh=SCORE_THRESHOLD,
        )
        # The images have their size already, and are not resized for the others.
        model.transform.resize = lambda image, target=None: (image, target)
        for name, parameter in model.backbone.body.named_parameters():
            # As with pretrained weights: the stem and the first stage are frozen.
            parameter.requires_grad = not name.startswith(('conv1', 'layer1'))
        model.load_state_dict(torchvision_weights(shared_weights(self.work.classes)))
        return model

    def prepare(self, scenes: list[Scene]) -> tuple[list[Tensor], list[dict]]:
        """Make images float in [0, 1], as its data sets do."""
        device = self.work.device
        images = [scene.image.to(device).float() / 255 for scene in scenes]
        targets = [
            dict(boxes=scene.boxes.to(device), labels=scene.labels.to(device) + 1)
            for scene in scenes
        ]
        return images, targets

    def losses(self, batch: tuple[list[Tensor], list[dict]]) -> Tensor:
        """Return the sum of the four losses."""
        return sum(self.model(*batch).values())

    def detect(self, batch: Any) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return the detections, labels from 0."""
        found = self.model(batch[0])
        return [(one['boxes'], one['scores'], one['labels'] - 1) for one in found]

    def without_preprocessing(self, batch: Any) -> Callable[[], object]:
        """Its transform answers from memory."""
        transform = self.model.transform
        ready = type(transform).forward(transform, *batch)
        transform.forward = lambda *_: ready
        return lambda: self.model(*batch)

    def up_to_neck(self) -> list[nn.Module]:
        """Its backbone is the neck as well."""
        return [self.model.backbone]

    def neck_output(self, maps: list[Tensor]) -> OrderedDict[str, Tensor]:
        """Return the maps under their names."""
        names = ('0', '1', '2', '3', 'pool')
        return OrderedDict(zip(names, maps, strict=True))

    def regions(self) -> list[Region]:
        """Say which functions are which stage."""
        model, rpn, roi_heads = self.model, self.model.rpn, self.model.roi_heads
        matching = 'anchors, assignment, sampling'
        result = 'head losses' if self.training else 'detections'
        return [
            Region(model.transform, 'forward', 'preprocess'),
            Region(model.backbone.body, 'forward', 'backbone'),
            Region(model.backbone.fpn, 'forward', 'neck'),
            Region(rpn, 'forward', 'proposals'),
            Region(rpn.head, 'forward', 'RPN convolutions'),
            Region(rpn.anchor_generator, 'forward', matching),
            Region(rpn, 'assign_targets_to_anchors', matching),
            Region(rpn.box_coder, 'encode', matching),
            Region(rpn, 'fg_bg_sampler', matching),
            Region(rpn, 'compute_loss', 'RPN losses'),
            Region(roi_heads, 'forward', result),
            Region(roi_heads, 'select_training_samples', 'RoI assignment, sampling'),
            Region(roi_heads.box_roi_pool, 'forward', 'RoI features'),
            Region(roi_heads.box_head, 'forward', 'head linear layers'),
            Region(roi_heads.box_predictor, 'forward', 'head linear layers'),
            Region(model.transform, 'postprocess', 'detections'),
        ]
