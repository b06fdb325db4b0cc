"""Any network of timm that gives feature maps as a detector's backbone.

A level is a place in the network where timm takes features, counted from 0; most have
one for each halving of the image. Shapes: images (N, 3, H, W) give one
(N, C_l, H / stride_l, W / stride_l) a level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.registry import MODELS
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmfrcnn.compat import timm
from mmfrcnn.errors import UserError, did_you_mean
from mmfrcnn.modeling.backbones.named_backbone import NamedBackbone
from mmfrcnn.ops.fold import after_norm, fold_weights, foldable, pairs_of_graph

PROBE = (128, 192)  # height and width of the image that is tried: nobody's favourite
# Addresses whose first word is the network that the weights are of.
SCHEMES = ('timm', 'pip')
# Arguments of timm that this class gives, and those that would fetch or open something.
RESERVED = {
    'cache_dir', 'checkpoint_path', 'features_only', 'in_chans', 'out_indices',
    'pretrained', 'pretrained_cfg', 'pretrained_cfg_overlay', 'pretrained_strict',
}  # fmt: skip


@MODELS.register_module()
class TimmBackbone(NamedBackbone):
    """Features of a timm network at the levels asked for.

    The parameters have timm's own names, so its weights load by name with
    ``init_cfg=dict(type='Pretrained', checkpoint='timm://NAME')`` or from a file; what
    lies behind the last level (the classifier) does not exist here, and its weights are
    unused. The features are those of timm's ``features_only`` model. Needs the extra
    ``timm``.

    Args:
        name (str): The network, as in ``timm.list_models()``.
        out_indices (Sequence[int]): Levels that are the features, finest first.
        frozen_stages (int): Everything up to and including this level is fixed: no
            gradients, batch statistics not updated. -1 fixes nothing.
        frozen_norm (bool): Fix every batch norm, its statistics and its affine part, as
            small batches ask.
        fold_norms (bool): Make of each convolution and its fixed batch norm one
            convolution with a bias. A checkpoint of the detector then has those weights
            alone (no ``running_mean``); weights with norms are folded as they are
            loaded, whoever loads them.
        options (dict | None): Further arguments of timm's network, such as
            ``dict(drop_path_rate=0.1)``.
        init_cfg (dict | None): mmengine's initialisation.

    Attributes:
        out_channels (list[int]): Channels of each feature map.
        strides (list[int]): Image pixels from one cell to the next, for each.

    Raises:
        UserError: If timm is missing, or has no such network, or this one gives no
            feature maps of images of any size; if a level or an option does not exist,
            or the pretrained weights are missing or not this network's.
    """

    def __init__(
        self,
        *,
        name: str,
        out_indices: Sequence[int],
        frozen_stages: int = -1,
        frozen_norm: bool = True,
        fold_norms: bool = False,
        options: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        _check_source(name, init_cfg)
        network = _build(name, options or {})
        levels = network.feature_info
        _check_levels(name, len(levels), out_indices, frozen_stages)
        self.out_indices = list(out_indices)
        network.prune_intermediate_layers(self.out_indices, prune_norm=True)
        super().__init__(name, network, frozen_norm, init_cfg)
        self.out_channels = [levels[i]['num_chs'] for i in out_indices]
        self.strides = [levels[i]['reduction'] for i in out_indices]
        self._probe()
        self._folded: list[tuple[str, str, float]] = []
        if fold_norms:
            self._fold()
        frozen = frozen_stages >= 0
        self._fix((lambda: self._level(frozen_stages)) if frozen else None)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the features.

        Args:
            images (Tensor): Normalised images, (N, 3, H, W), float.

        Returns:
            tuple[Tensor, ...]: One (N, C_l, H / stride_l, W / stride_l) for each level.
        """
        maps = self.network.forward_intermediates(
            images, indices=self.out_indices, intermediates_only=True
        )
        return tuple(maps)

    def _level(self, index: int) -> Tensor:
        """Compute a level of an empty image, and no more than it needs."""
        (feature,) = self.network.forward_intermediates(
            torch.zeros(1, 3, *PROBE),
            indices=[index],
            stop_early=True,
            intermediates_only=True,
        )
        return feature

    def _probe(self) -> None:
        """Try the network on a size that it was not made for."""
        self.eval()
        height, width = PROBE
        expected = [
            (1, channels, -(-height // stride), -(-width // stride))
            for channels, stride in zip(self.out_channels, self.strides, strict=True)
        ]
        try:
            with torch.no_grad():
                found = [
                    tuple(feature.shape) for feature in self(torch.zeros(1, 3, *PROBE))
                ]
        except (AssertionError, RuntimeError, ValueError) as error:
            found, reason = [], str(error).partition('\n')[0].rstrip('.')
            reason = reason or type(error).__name__
        else:
            reason = f'it gives {found} of {height} x {width} pixels, not {expected}'
        if found != expected:
            raise UserError(
                f'{self.name} gives no feature maps of images of any size: {reason}. '
                'Use a network of convolutions, or see the options of its class in timm'
            )

    def foldable_norms(self) -> list[tuple[str, str]]:
        """Name each convolution, and the norm that alone reads its result.

        None of a network that cannot be traced, as one that looks at values.
        """
        try:
            graph = _Tracer().trace(self)
        except Exception:  # whatever it does to what stands for a tensor
            return []
        return [
            (conv, norm)
            for conv, norm in pairs_of_graph(graph)
            if foldable(self.get_submodule(conv), self.get_submodule(norm))
        ]

    def _fold(self) -> None:
        """Fold the norms, and remember which, for weights that are loaded later."""
        if not self.frozen_norm:
            raise UserError(f'{self.name}: fold_norms=True needs frozen_norm=True')
        pairs = self.foldable_norms()
        if not pairs:
            raise UserError(
                f'{self.name}: fold_norms=True, but no batch norm is seen to follow a '
                'convolution'
            )
        state = self.state_dict()
        for conv_name, norm_name in pairs:
            conv, norm = self.get_submodule(conv_name), self.get_submodule(norm_name)
            self._folded.append((conv_name, norm_name, norm.eps))
            if conv.bias is None:
                conv.bias = nn.Parameter(conv.weight.new_zeros(conv.out_channels))
            self.set_submodule(norm_name, after_norm(norm))
        self.load_state_dict(state)

    def translated(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Fold the norms that a file still has and this network does not."""
        return self._with_norms_folded(state, '')

    def _with_norms_folded(
        self, state: Mapping[str, Tensor], prefix: str
    ) -> dict[str, Tensor]:
        state = dict(state)
        for conv, norm, eps in self._folded:
            fold_weights(state, prefix + conv, prefix + norm, eps)
        return state

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *details: Any
    ) -> None:
        """Load; torch gives each module a dict of its own to change."""
        self._refuse_folded(state_dict, prefix)
        folded = self._with_norms_folded(state_dict, prefix)
        state_dict.clear()
        state_dict.update(folded)
        super()._load_from_state_dict(state_dict, prefix, *details)

    def _refuse_folded(self, state: Mapping[str, Tensor], prefix: str) -> None:
        """Refuse convolutions whose norms are in their biases, if ours are not."""
        own = self.state_dict(prefix=prefix)
        for key in state:
            whole = f'{key.removesuffix("bias")}weight'
            if key.endswith('.bias') and key not in own and whole in own:
                raise UserError(
                    f'{self.name}: the weights have {key} and not the norm after it: '
                    'they are of a backbone with fold_norms=True. Set that'
                )


class _Tracer(fx.Tracer):
    """Traces timm's networks down to whole convolutions and norms."""

    def __init__(self) -> None:
        layers = timm.package().layers
        super().__init__(autowrap_functions=tuple(layers.get_notrace_functions()))
        self.whole = (nn.Conv2d, _BatchNorm, *layers.get_notrace_modules())

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, self.whole) or super().is_leaf_module(module, name)


def _build(name: str, options: Mapping[str, Any]) -> Any:
    package = timm.package()
    # By timm's list alone: it would also fetch and build what 'hf-hub:...' describes.
    known = package.list_models()
    if name not in known:
        near = did_you_mean(str(name), known)
        raise UserError(f'timm {package.__version__} has no network {name!r}.{near}')
    refused = sorted(RESERVED & set(options))
    if refused:
        raise UserError(f'{name}: options may not name {", ".join(refused)}')
    try:
        network = package.create_model(name, pretrained=False, **options)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise UserError(
            f'{name}: timm refuses options={dict(options)}: {error}'
        ) from None
    needed = ('feature_info', 'forward_intermediates', 'prune_intermediate_layers')
    if not all(hasattr(network, part) for part in needed):
        raise UserError(f'{name} gives no feature maps in timm. Use another network')
    return network


def _check_levels(
    name: str, count: int, out_indices: Sequence[int], frozen_stages: int
) -> None:
    wanted = list(out_indices) if isinstance(out_indices, list | tuple) else []
    fine = all(type(i) is int and 0 <= i < count for i in wanted)
    if not wanted or not fine or wanted != sorted(set(wanted)):
        raise UserError(
            f'{name}: out_indices={out_indices}, which should be levels in rising '
            f'order; it has 0 to {count - 1}'
        )
    if type(frozen_stages) is not int or not -1 <= frozen_stages <= wanted[-1]:
        raise UserError(
            f'{name}: frozen_stages={frozen_stages!r}, which should be -1 (none) or a '
            f'level up to {wanted[-1]}, the last that is used'
        )


def _check_source(name: str, init_cfg: Any) -> None:
    """Refuse another network's weights: they may fit, and compute something else."""
    if not isinstance(init_cfg, Mapping):
        return
    scheme, found, rest = str(init_cfg.get('checkpoint')).partition('://')
    if found and scheme in SCHEMES and rest.partition('.')[0] != name:
        raise UserError(
            f'model.backbone.init_cfg.checkpoint: {scheme}://{rest} is not of {name}. '
            f'Set name={rest.partition(".")[0]!r}, or take weights of {name}'
        )
