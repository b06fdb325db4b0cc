"""Any torchvision classification network as a detector's backbone.

A node is the name of a module of the network (``features.3``, ``layer2``) or of an
operation in its traced graph; ``torchvision.models.feature_extraction`` explains them.
Shapes: images (N, 3, H, W) give one (N, C_l, H / stride_l, W / stride_l) a node.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
import torchvision
from mmdet.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models.feature_extraction import (
    create_feature_extractor,
    get_graph_node_names,
)

from mmfrcnn.errors import UserError, did_you_mean
from mmfrcnn.modeling.backbones.named_backbone import NamedBackbone
from mmfrcnn.modeling.backbones.pretrained import pretrained_init

PROBE_SIZE = 224  # height and width of the image that tells channels and strides


@MODELS.register_module()
class TorchvisionBackbone(NamedBackbone):
    """Features of a torchvision network at the nodes asked for.

    The parameters have torchvision's own names, so a file of ImageNet weights loads by
    name with ``init_cfg=dict(type='Pretrained', checkpoint=PATH)``; what lies behind
    the last node (the classifier) does not exist here, and its weights are unused.

    Args:
        name (str): The network, as in ``torchvision.models.list_models()``.
        out_nodes (Sequence[str]): Nodes whose outputs are the features, finest first.
        frozen_node (str | None): Everything up to and including this node is fixed:
            no gradients, batch statistics not updated.
        frozen_norm (bool): Fix every batch norm, its statistics and its affine part, as
            small batches ask.
        norm_eps (float | None): Epsilon of every batch norm, instead of the network's.
        weights (str | None): Name of a set of torchvision's weights, such as
            ``IMAGENET1K_V1``; downloaded when training starts.
        init_cfg (dict | None): mmengine's initialisation, instead of ``weights``.

    Attributes:
        out_channels (list[int]): Channels of each feature map.
        strides (list[int]): Image pixels from one cell to the next, for each.

    Raises:
        UserError: If there is no such network, node or set of weights, or the
            pretrained file is missing or is not this network's.
    """

    def __init__(
        self,
        *,
        name: str,
        out_nodes: Sequence[str],
        frozen_node: str | None = None,
        frozen_norm: bool = True,
        norm_eps: float | None = None,
        weights: str | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        network = _build(name)
        if norm_eps is not None:
            _set_norm_eps(network, norm_eps)
        wanted = [*out_nodes, *([frozen_node] if frozen_node else [])]
        _check_nodes(network, name, wanted)
        extractor = create_feature_extractor(network, list(out_nodes))
        init_cfg = pretrained_init(name, weights, init_cfg)
        super().__init__(name, extractor, frozen_norm, init_cfg)
        self.out_nodes = list(out_nodes)
        self.out_channels, self.strides = self._probe()
        self._fix(_up_to(network, frozen_node) if frozen_node else None)

    def __deepcopy__(self, memo: dict) -> TorchvisionBackbone:
        """Copy; torchvision's copy of a traced graph is always in training mode."""
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__dict__ = copy.deepcopy(self.__dict__, memo)
        return twin.train(self.training)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the features.

        Args:
            images (Tensor): Normalised images, (N, 3, H, W), float.

        Returns:
            tuple[Tensor, ...]: One (N, C_l, H / stride_l, W / stride_l) for each node.
        """
        features = self.network(images)
        maps = [features[node] for node in self.out_nodes]
        if self.channels_last:
            maps = [feature.permute(0, 3, 1, 2) for feature in maps]
        return tuple(maps)

    def _probe(self) -> tuple[list[int], list[int]]:
        """Run an empty image through the network to learn channels and strides."""
        self.eval()
        self.channels_last = False
        with torch.no_grad():
            maps = self(torch.zeros(1, 3, PROBE_SIZE, PROBE_SIZE))
        # The image is square: Swin's maps, (N, H, W, C), have their square elsewhere.
        shape = maps[-1].shape
        if len(shape) == 4 and shape[1] == shape[2] != shape[3]:
            self.channels_last = True
            maps = tuple(feature.permute(0, 3, 1, 2) for feature in maps)
        for node, feature in zip(self.out_nodes, maps, strict=True):
            if feature.dim() != 4:
                raise UserError(
                    f'{self.name}: node {node!r} gives {tuple(feature.shape)}, not a '
                    '(N, C, H, W) feature map. Name a node before the pooling'
                )
        channels = [feature.shape[1] for feature in maps]
        return channels, [round(PROBE_SIZE / feature.shape[-1]) for feature in maps]


def _up_to(network: nn.Module, node: str) -> Callable[[], Tensor]:
    """Return a function that computes a node's output for an empty image."""
    part = create_feature_extractor(network, [node]).eval()
    return lambda: part(torch.zeros(1, 3, PROBE_SIZE, PROBE_SIZE))[node]


def _build(name: str) -> nn.Module:
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        near = did_you_mean(name, known)
        raise UserError(f'torchvision has no classification network {name!r}.{near}')
    return torchvision.models.get_model(name)


def _check_nodes(network: nn.Module, name: str, nodes: Sequence[str]) -> None:
    """Raise unless each node, or something inside it, is in the traced graph."""
    if not nodes:
        raise UserError(f'{name}: out_nodes is empty; name at least one node')
    traced = get_graph_node_names(network)[1]
    inside = {
        '.'.join(parts[:depth])
        for parts in (node.split('.') for node in traced)
        for depth in range(1, len(parts) + 1)
    }
    for node in nodes:
        if node not in inside:
            outer = sorted((n for n in inside if n.count('.') < 2), key=len)
            near = did_you_mean(node, outer)
            raise UserError(
                f'{name} has no node {node!r}.{near} It has {", ".join(outer[:30])}'
            )


def _set_norm_eps(network: nn.Module, eps: float) -> None:
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.eps = eps
