"""torchvision's detectors, built as their published weights are, with random ones."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import WeightsEnum

ARCHITECTURES = {
    'fasterrcnn_resnet50_fpn': 'faster-rcnn_r50_fpn_coco',
    'fasterrcnn_resnet50_fpn_v2': 'faster-rcnn_r50_fpn_v2_coco',
    'fasterrcnn_mobilenet_v3_large_fpn': 'faster-rcnn_mobilenet-v3-large_fpn_coco',
    'fasterrcnn_mobilenet_v3_large_320_fpn': (
        'faster-rcnn_mobilenet-v3-large-320_fpn_coco'
    ),
}


def standardise(layer: nn.Module, spread: float) -> None:
    """Rescale a layer when it is first used, so that its outputs there differ.

    Untrained detectors give one score to everything: comparisons would say nothing.
    """

    def rescale(module: nn.Module, _, output: Tensor) -> Tensor:
        handle.remove()
        channels = output.movedim(1, 0).flatten(1)  # (channels, all else)
        scale = spread / channels.std(1).clamp(min=1e-6)
        mean = channels.mean(1)
        module.weight.mul_(scale.view(-1, *[1] * (module.weight.dim() - 1)))
        module.bias.sub_(mean).mul_(scale)
        shape = (-1, *[1] * (output.dim() - 2))
        return (output - mean.view(shape)) * scale.view(shape)

    handle = layer.register_forward_hook(rescale)


def differ(model: nn.Module, layers: dict[nn.Module, float]) -> None:
    """Draw the batch norms, and have the layers that decide rescaled at first use."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.1)
    for layer, spread in layers.items():
        standardise(layer, spread)


def read(picture: Path) -> Tensor:
    """Read a picture as torchvision's detectors take it: RGB in [0, 1]."""
    mode = torchvision.io.ImageReadMode.RGB
    return torchvision.io.read_image(str(picture), mode).float() / 255


@torch.no_grad()
def random_weights(name: str, picture: Path, **options) -> dict[str, Tensor]:
    """Draw weights whose scores on a picture differ; without counters where fixed."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(
        name, weights=None, weights_backbone=None, **options
    )
    predictor = model.roi_heads.box_predictor
    differ(
        model.eval(),
        {
            model.rpn.head.cls_logits: 3.0,
            model.rpn.head.bbox_pred: 0.3,
            predictor.cls_score: 3.0,
            predictor.bbox_pred: 1.0,
        },
    )
    model([read(picture)])
    weights = model.state_dict()
    if not name.endswith('_v2'):  # published with fixed norms, which count nothing
        weights = {k: v for k, v in weights.items() if 'num_batches' not in k}
    return weights


def build(name: str, weights: dict[str, Tensor], **options) -> nn.Module:
    """Build a detector as with ``weights='COCO_V1'``, but with these weights."""

    def instead(self, *args, **kwargs):
        return weights

    with patch.object(WeightsEnum, 'get_state_dict', instead):
        model = torchvision.models.get_model(name, weights='COCO_V1', **options)
    return model.eval()
