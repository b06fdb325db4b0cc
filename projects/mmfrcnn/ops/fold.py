"""A fixed batch norm is a scale and a shift: both go into the convolution before it.

Only where it is certain that the norm reads the convolution's result and nobody else
does: as a traced graph says.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

# timm's convolution with TensorFlow's padding: zeros around the image, then its own.
SAME = 'timm.layers.conv2d_same.Conv2dSame'


def foldable(conv: nn.Module, norm: nn.Module) -> bool:
    """Whether a norm's scale and shift may become a convolution's weight and bias."""
    kind = type(conv)
    linear = kind is nn.Conv2d or f'{kind.__module__}.{kind.__qualname__}' == SAME
    return linear and isinstance(norm, _BatchNorm) and norm.running_mean is not None


def pairs_of_graph(graph: fx.Graph) -> Iterator[tuple[str, str]]:
    """List modules whose only input is another's result that has no other reader.

    Args:
        graph (fx.Graph): A traced network in which convolutions and norms are whole.

    Yields:
        tuple[str, str]: The name of the first and of the second; each is called once.
    """
    calls = [node for node in graph.nodes if node.op == 'call_module']
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
            yield source.target, node.target


def after_norm(norm: nn.Module) -> nn.Module:
    """Return what a folded norm leaves: in some of timm's, an activation."""
    rest = [getattr(norm, name) for name in ('drop', 'act') if hasattr(norm, name)]
    rest = [module for module in rest if not isinstance(module, nn.Identity)]
    if len(rest) > 1:
        return nn.Sequential(*rest)
    return rest[0] if rest else nn.Identity()


def fold_weights(state: dict[str, Tensor], conv: str, norm: str, eps: float) -> None:
    """Fold a norm of a state dict into its convolution, in place.

    Args:
        state (dict[str, Tensor]): Weights by name. Where the two are missing, or not of
            one width, nothing is done.
        conv (str): Name of the convolution.
        norm (str): Name of the norm, whose weights are taken out.
        eps (float): Its epsilon.
    """
    names = ('running_mean', 'running_var', 'weight', 'bias')
    mean, var, scale, shift = own = [state.get(f'{norm}.{name}') for name in names]
    weight, bias = state.get(f'{conv}.weight'), state.get(f'{conv}.bias')
    given = [one for one in (*own, weight) if isinstance(one, Tensor) and one.dim()]
    if len(given) < 5 or len({len(one) for one in given}) > 1:
        return
    folded = fuse_conv_bn_weights(weight, bias, mean, var, eps, scale, shift)
    state[f'{conv}.weight'], state[f'{conv}.bias'] = (part.detach() for part in folded)
    for name in (*names, 'num_batches_tracked'):
        state.pop(f'{norm}.{name}', None)
