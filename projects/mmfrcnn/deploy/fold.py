"""Batch norm at inference is a fixed scale and shift: both go into the convolution.

Only where it is certain that the norm follows the convolution and nobody else sees what
lies between: by the order of execution of containers that are known.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from mmcv.cnn import ConvModule
from mmdet.models.backbones import ResNet, resnext
from mmdet.models.backbones.resnet import BasicBlock, Bottleneck
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mmfrcnn.modeling.backbones.torchvision_backbone import TorchvisionBackbone

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
        conv, norm = parent.get_submodule(conv_name), parent.get_submodule(norm_name)
        if type(conv) is not nn.Conv2d or not isinstance(norm, _BatchNorm):
            continue
        if not norm.training and norm.running_mean is not None:
            parent.set_submodule(conv_name, fuse_conv_bn_eval(conv, norm))
            parent.set_submodule(norm_name, nn.Identity())
            folded += 1
    return folded


def _pairs(model: nn.Module) -> Iterator[Pair]:
    for module in model.modules():
        if isinstance(module, TorchvisionBackbone):
            yield from _pairs_of_graph(module.extractor)
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


def _pairs_of_graph(module: fx.GraphModule) -> Iterator[Pair]:
    """Norms whose input is a convolution's result that has no other reader."""
    calls = [node for node in module.graph.nodes if node.op == 'call_module']
    targets = [node.target for node in calls]
    for node in calls:
        source = node.args[0] if node.args else None
        alone = (
            isinstance(source, fx.Node)
            and source.op == 'call_module'
            and len(source.users) == 1
            and targets.count(source.target) == targets.count(node.target) == 1
        )
        if alone:
            yield module, source.target, node.target
