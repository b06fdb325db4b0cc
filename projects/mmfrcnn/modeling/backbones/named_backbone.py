"""What the networks of other libraries have in common as backbones.

They keep their own parameter names, and a part of them may be fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmfrcnn.modeling.backbones.pretrained import check_pretrained


class NamedBackbone(BaseModule):
    """A network of another library, by its name there and with its parameter names.

    Args:
        name (str): The network.
        network (nn.Module): What computes the features.
        frozen_norm (bool): Fix every batch norm, its statistics and its affine part.
        init_cfg (dict | None): mmengine's initialisation.

    Attributes:
        out_channels (list[int]): Channels of each feature map.
        strides (list[int]): Image pixels from one cell to the next, for each.
    """

    out_channels: list[int]
    strides: list[int]

    def __init__(
        self, name: str, network: nn.Module, frozen_norm: bool, init_cfg: dict | None
    ) -> None:
        super().__init__(init_cfg)
        self.name = name
        self.frozen_norm = frozen_norm
        # One set of modules under two roofs: kept out of the registration, the network
        # adds no prefix to its own names.
        self.__dict__['network'] = network
        self._modules = network._modules
        self._parameters = network._parameters
        self._buffers = network._buffers
        self.frozen_modules: list[str] = []
        self.frozen_parameters: list[str] = []

    def _fix(self, part: Callable[[], Tensor] | None) -> None:
        """Fix all that a tensor depends on, and the norms that are to be.

        Args:
            part (Callable | None): Computes that tensor with the network's modules.
        """
        if part is not None:
            self.frozen_modules, self.frozen_parameters = _used(self, part)
        fixed = set(self.frozen_parameters)
        for key, parameter in self.named_parameters():
            if key in fixed:
                parameter.requires_grad_(False)
        for module in self._norms():
            module.requires_grad_(False)
        self.train()

    def _norms(self) -> list[nn.Module]:
        """Return the norms that are fixed."""
        if not self.frozen_norm:
            return []
        return [module for module in self.modules() if isinstance(module, _BatchNorm)]

    def train(self, mode: bool = True) -> NamedBackbone:
        """Switch to training, all but the fixed part; or to evaluation."""
        super().train(mode)
        self.network.train(mode)
        # Each by itself: what is inside a module that is used need not be.
        for module in map(self.get_submodule, self.frozen_modules):
            module.training = False
        for module in self._norms():
            module.training = False
        return self

    def init_weights(self) -> None:
        """Initialise, and refuse pretrained weights that are not this network's.

        Of a file the weights are taken that this network has: those of its classifier,
        which mmengine would warn of, are not missed.
        """
        key = 'model.backbone.init_cfg'
        state = check_pretrained(self, self.init_cfg, self.name, key, self.translated)
        if state is None:
            super().init_weights()
            return
        self.load_state_dict(state, strict=False)
        self.is_init = True

    def translated(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return a file's weights as they are loaded."""
        return state


def _used(
    module: nn.Module, compute: Callable[[], Tensor]
) -> tuple[list[str], list[str]]:
    """Name the modules and the parameters that a tensor depends on."""
    called: list[str] = []

    def record(key: str, *_: object) -> None:
        called.append(key)

    inside = [(key, child) for key, child in module.named_modules() if key]
    hooks = [child.register_forward_hook(partial(record, key)) for key, child in inside]
    with torch.enable_grad():
        result = compute().sum()
    for hook in hooks:
        hook.remove()
    if not result.requires_grad:
        return called, []
    parameters = dict(module.named_parameters())
    gradients = torch.autograd.grad(result, [*parameters.values()], allow_unused=True)
    used = zip(parameters, gradients, strict=True)
    return called, [key for key, gradient in used if gradient is not None]
