"""Batch norm at inference is a fixed scale and shift: both go into the convolution.

Only where it is certain that the norm follows the convolution and nobody else sees what
lies between: by the order of execution of containers that are known.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmdet.models.backbones import ResNet, resnext
from mmdet.models.backbones.resnet import BasicBlock, Bottleneck
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mmfrcnn.modeling.backbones import TimmBackbone, TorchvisionBackbone
from mmfrcnn.ops.fold import after_norm, foldable, pairs_of_graph

# A convolution's and its norm's name in a parent.
Pair = tuple[nn.Module, str, str]


@torch.no_grad()
def fold_batch_norms(model: nn.Module) -> int:
    """Fold the batch norms of a model in place; the model must be in eval mode.

    Args:
        model (nn.Module): Any model; what is not recognised stays as it is.

    Returns:
        int: Number of norms folded.
    """
    folded = 0
    for parent, conv_name, norm_name in list(_pairs(model)):
        conv: Any = parent.get_submodule(conv_name)
        norm: Any = parent.get_submodule(norm_name)
        if foldable(conv, norm) and not norm.training:
            parent.set_submodule(conv_name, fuse_conv_bn_eval(conv, norm))
            parent.set_submodule(norm_name, after_norm(norm))
            folded += 1
    return folded


def _pairs(model: nn.Module) -> Iterator[Pair]:
    for module in model.modules():
        if isinstance(module, TorchvisionBackbone):
            for conv, norm in pairs_of_graph(module.network.graph):
                yield module, conv, norm
        elif isinstance(module, TimmBackbone):
            for conv, norm in module.foldable_norms():
                yield module, conv, norm
        elif getattr(type(module), 'forward', None) is nn.Sequential.forward:
            # Names, and each executed right after the other.
            for (first, _), (second, _) in pairwise(module.named_children()):
                yield module, first, second
        elif isinstance(module, ConvModule):
            if module.with_norm and module.order[:2] == ('conv', 'norm'):
                yield module, 'conv', module.norm_name
        elif isinstance(module, ResNet) and not module.deep_stem:
            yield module, 'conv1', str(module.norm1_name)
        elif type(module) in (BasicBlock, Bottleneck, resnext.Bottleneck):
            yield module, 'conv1', str(module.norm1_name)
            yield module, 'conv2', str(module.norm2_name)
            if type(module) is not BasicBlock:
                yield module, 'conv3', str(module.norm3_name)
