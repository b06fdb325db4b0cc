"""The box head of the paper: VGG's own two layers, fc6 and fc7, with dropout."""

from __future__ import annotations

from typing import Any

from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.registry import MODELS
from mmengine.model import Sequential
from torch import Tensor, nn

from mmfrcnn.modeling.backbones.pretrained import check_pretrained, pretrained_init

CHANNELS = 512  # of the last convolution of every VGG
WIDTH = 4096  # of fc6 and fc7


@MODELS.register_module()
class VGGBBoxHead(BBoxHead):
    """Scores and deltas after fc6 and fc7 (Simonyan and Zisserman 2014).

    The two layers are those of torchvision's VGG and start from its weights, as the
    features do (Ren et al. 2015, section 3.2). Regions are (R, 512, 7, 7).

    Args:
        name (str): The network: ``vgg11`` to ``vgg19``, ``vgg11_bn`` to ``vgg19_bn``.
        weights (str | None): Name of a set of torchvision's weights, such as
            ``IMAGENET1K_V1``; downloaded when training starts.
        dropout (float): Share of the activations dropped after each layer.
        init_cfg (dict | None): ``dict(type='Pretrained', checkpoint=FILE)``, a file in
            torchvision's key format, instead of ``weights``.
        **options: Of mmdet's ``BBoxHead``, such as ``num_classes`` and ``loss_bbox``.
    """

    def __init__(
        self,
        *,
        name: str = 'vgg16',
        weights: str | None = None,
        dropout: float = 0.5,
        init_cfg: dict | None = None,
        **options: Any,
    ) -> None:
        # What mmdet's head sees are regions of one cell with 4096 channels.
        super().__init__(in_channels=WIDTH, roi_feat_size=1, **options)
        self.name = name
        pretrained = pretrained_init(name, weights, init_cfg)
        if pretrained is not None:
            pretrained = dict(pretrained, prefix='classifier')
        self.classifier = Sequential(
            nn.Linear(CHANNELS * 7 * 7, WIDTH),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(WIDTH, WIDTH),
            nn.ReLU(),
            nn.Dropout(dropout),
            init_cfg=pretrained or dict(type='Normal', layer='Linear', std=0.01),
        )

    def init_weights(self) -> None:
        """Initialise, and refuse a pretrained file that is not a VGG's."""
        key = 'model.roi_head.bbox_head.init_cfg'
        check_pretrained(self.classifier, self.classifier.init_cfg, self.name, key)
        super().init_weights()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (R, C + 1) and deltas (R, 4 C) of regions (R, 512, 7, 7)."""
        return super().forward(self.classifier(x.flatten(1)))
