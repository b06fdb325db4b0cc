"""One set of random weights for all contenders, under each framework's names.

They are scaled layer by layer so that scores and boxes vary as a trained detector's do:
what NMS and the detections cost depends on it.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# Standard deviation of what a layer gives for one noise image; all others 1.
SPREAD = {'rpn_cls': 1.0, 'rpn_reg': 0.2, 'fc_cls': 1.5, 'fc_reg': 0.5}
# Most proposals are background to a trained head. With this, some hundred candidates
# an image score above 0.05 (80 classes).
BACKGROUND_LEAD = 6.0


@functools.lru_cache(maxsize=2)
def shared_weights(classes: int, seed: int = 0) -> dict[str, Tensor]:
    """Return the state dict of our detector, which is mmdet's too."""
    from mmfrcnn_benchmark.openmmlab import OUR_CONFIG, build_detector

    model = build_detector(OUR_CONFIG, classes).eval()
    generator = torch.Generator().manual_seed(seed)
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.weight.data.normal_(0, 0.1, generator=generator)
            if module.bias is not None:
                module.bias.data.zero_()
            spread = SPREAD.get(name.rsplit('.', 1)[-1])
            hooks.append(module.register_forward_hook(_rescale_once(spread)))
    with torch.no_grad():
        _pass_through(model, torch.randn(1, 3, 192, 256, generator=generator))
    for hook in hooks:
        hook.remove()
    lead = BACKGROUND_LEAD + math.log(classes / 80)
    model.roi_head.bbox_head.fc_cls.bias.data[-1] = lead
    return model.state_dict()


def _pass_through(model: Any, images: Tensor) -> None:
    """Run every layer once."""
    features = model.extract_feat(images)
    model.rpn_head(features)
    head = model.roi_head.bbox_head
    size = head.roi_feat_size[0]
    head(_cells(features[0], size))


def _cells(features: Tensor, size: int) -> Tensor:
    """Cut a map into squares as if they were regions: (K, C, size, size)."""
    squares = features.unfold(2, size, size).unfold(3, size, size)
    return squares[0].flatten(1, 2).transpose(0, 1).contiguous()


def _rescale_once(spread: float | None) -> Callable:
    """Scale a layer's weight at its first use; centre each output of the last layers.

    Without that, one class would win everywhere: what follows a ReLU has a mean.
    """
    done = []

    def hook(module: Any, inputs: tuple, output: Tensor) -> Tensor:
        if done or output.numel() < 2:
            return output
        done.append(True)
        factor = (spread or 1.0) / output.std()
        if spread is not None:
            mean = output.transpose(0, 1).flatten(1).mean(1)  # of each channel
            centred = output - mean.view(-1, *[1] * (output.dim() - 2))
            factor = spread / centred.std()
            module.bias.data = -mean * factor
            output = centred
        module.weight.data.mul_(factor)
        return output * factor

    return hook


# mmdet's names, and torchvision's for the same.
TORCHVISION_NAMES = (
    (r'^backbone\.', 'backbone.body.'),
    (r'^neck\.lateral_convs\.(\d)\.conv\.', r'backbone.fpn.inner_blocks.\1.0.'),
    (r'^neck\.fpn_convs\.(\d)\.conv\.', r'backbone.fpn.layer_blocks.\1.0.'),
    (r'^rpn_head\.rpn_conv\.', 'rpn.head.conv.0.0.'),
    (r'^rpn_head\.rpn_cls\.', 'rpn.head.cls_logits.'),
    (r'^rpn_head\.rpn_reg\.', 'rpn.head.bbox_pred.'),
    (r'^roi_head\.bbox_head\.shared_fcs\.0\.', 'roi_heads.box_head.fc6.'),
    (r'^roi_head\.bbox_head\.shared_fcs\.1\.', 'roi_heads.box_head.fc7.'),
    (r'^roi_head\.bbox_head\.fc_cls\.', 'roi_heads.box_predictor.cls_score.'),
    (r'^roi_head\.bbox_head\.fc_reg\.', 'roi_heads.box_predictor.bbox_pred.'),
)


def torchvision_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename an R50-FPN state dict; torchvision's class 0 is the background."""
    renamed = {}
    for name, value in state.items():
        if name.endswith('num_batches_tracked'):
            continue
        if '.fc_cls.' in name:
            value = value.roll(1, 0)
        elif '.fc_reg.' in name:
            value = torch.cat([torch.zeros_like(value[:4]), value])
        for pattern, replacement in TORCHVISION_NAMES:
            new, count = re.subn(pattern, replacement, name)
            if count:
                renamed[new] = value
                break
        else:
            raise KeyError(name)
    return renamed
