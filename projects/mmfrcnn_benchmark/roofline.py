"""The most that a card can do, computed from counts and its data sheet: not measured.

Convolutions and linear layers of R50-FPN are counted, layer by layer, on tensors that
have a shape and no data. The rule of the bytes: a layer reads its input and its weights
once and writes its output once, in bfloat16; its backward pass reads the gradient of
the output, the input and the weights and writes their gradients. Whatever else is done
to a value (norm, ReLU, sum, loss) is done on the way and costs nothing. SGD with
momentum reads weight, gradient and momentum and writes two of them, in float32. So a
layer takes the longer of its arithmetic and its bytes at least, and the step the sum,
but for what a cache keeps from one layer to the next.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from mmfrcnn_benchmark.contenders import PROPOSALS
from mmfrcnn_benchmark.op_costs import count_launches, operator_costs
from mmfrcnn_benchmark.openmmlab import OUR_CONFIG, build_detector
from mmfrcnn_benchmark.operators import IMPLEMENTATIONS, REGIONS

BATCHES = (1, 8, 16, 64)
SHOWN = 16  # the batch of which operators' times are shown
SIZE = (800, 1344)
CLASSES = 80
BFLOAT16 = 2  # bytes
SGD = 5 * 4  # bytes a trained weight


class Card(NamedTuple):
    """Peak rates of a card.

    Attributes:
        name (str): As its data sheet calls it.
        bfloat16 (float): FLOP/s of the tensor cores, dense, float32 accumulation.
        float32 (float): FLOP/s outside them.
        bandwidth (float): Bytes/s of the memory.
    """

    name: str
    bfloat16: float
    float32: float
    bandwidth: float


# NVIDIA Ada GPU Architecture whitepaper, appendix A; A100 80GB (SXM), H100 SXM and H200
# SXM data sheets, where the tensor cores' figures are halved: those are with sparsity.
CARDS = (
    Card('RTX 4090', 165.2e12, 82.6e12, 1008e9),
    Card('A100', 312e12, 19.5e12, 2039e9),
    Card('H100', 989.5e12, 67e12, 3350e9),
    Card('H200', 989.5e12, 67e12, 4800e9),
)


class Layer(NamedTuple):
    """What one convolution or product of matrices takes, or another piece of a step.

    Attributes:
        flops (int): Floating-point operations, two a multiplication with addition.
        bytes (int): Through the memory.
    """

    flops: int
    bytes: int


class LayerCounter(TorchDispatchMode):
    """Counts what convolutions and products of matrices take.

    Attributes:
        layers (list[Layer]): Forward and backward passes, as they come.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers: list[Layer] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Count a call."""
        out = function(*args, **(kwargs or {}))
        count = flop_registry.get(function._overloadpacket)
        if count is not None:
            flops = count(*args, **(kwargs or {}), out_val=out)
            tensors = [x for x in tree_leaves((args, out)) if isinstance(x, Tensor)]
            moved = BFLOAT16 * sum(tensor.numel() for tensor in tensors)
            self.layers.append(Layer(flops, moved))
        return out


class Bound(NamedTuple):
    """The least seconds of a step on a card.

    Attributes:
        compute (float): All arithmetic, at the peak.
        memory (float): All bytes, at full bandwidth.
        layers (float): The longer of the two, layer by layer.
    """

    compute: float
    memory: float
    layers: float


def bound(layers: Sequence[Layer], card: Card) -> Bound:
    """Return the least time of a step."""
    compute = [layer.flops / card.bfloat16 for layer in layers]
    memory = [layer.bytes / card.bandwidth for layer in layers]
    return Bound(sum(compute), sum(memory), sum(map(max, compute, memory)))


def count_step(
    images: int, training: bool, size: tuple[int, int] = SIZE, regions: int = 0
) -> list[Layer]:
    """Count the layers of a training step or an inference of R50-FPN, 80 classes.

    Args:
        images (int): Images a batch.
        training (bool): With backward pass and optimizer; stem and first stage are
            frozen.
        size (tuple[int, int]): (height, width) of the images.
        regions (int): Regions an image in the second stage; 0: the standard's 512 in
            training and 1,000 in inference.
    """
    regions = regions or (REGIONS if training else PROPOSALS)
    model = _detector()
    with LayerCounter() as counted, torch.set_grad_enabled(training):
        outputs = _run_layers(model, images, size, images * regions)
        if training:
            sum(output.sum() for output in outputs).backward()
    if training:
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        counted.layers.append(Layer(0, SGD * trained))
        model.zero_grad()
    return counted.layers


@functools.cache
def _detector() -> Any:
    with torch.device('meta'):
        return build_detector(OUR_CONFIG, CLASSES).train()


def _run_layers(model: Any, images: int, size: tuple[int, int], regions: int) -> list:
    """Run all layers on tensors without data; return what they give."""
    pixels = torch.empty(images, 3, *size, device='meta')
    pooled = torch.empty(regions, 256, 7, 7, device='meta', requires_grad=True)
    features = model.extract_feat(pixels)
    return tree_leaves([model.rpn_head(features), model.roi_head.bbox_head(pooled)])


def compute_roofline(progress: Callable[[str], None]) -> dict[str, Any]:
    """Count all batches, and what the heads' operators take.

    Args:
        progress (Callable): Told the progress.

    Returns:
        dict: ``steps``: by mode and batch, what is counted and the bounds by card;
        ``operators``: likewise, an image, with the ``launches`` of each batch, of the
        kernel and in plain torch.
    """
    steps, operators = [], []
    for mode in ('train', 'infer'):
        for images in BATCHES:
            progress(f'counting: {mode}, batch {images}')
            layers = count_step(images, mode == 'train')
            steps.append(
                dict(
                    mode=mode,
                    images=images,
                    flops=sum(layer.flops for layer in layers),
                    bytes=sum(layer.bytes for layer in layers),
                    bounds={c.name: bound(layers, c)._asdict() for c in CARDS},
                )
            )
    for cost in operator_costs(*SIZE):
        progress(f'counting: {cost.operator}')
        launches = {
            label: [count_launches(cost.operator, way, n, *SIZE) for n in BATCHES]
            for label, way in IMPLEMENTATIONS['cuda'].items()
        }
        bounds = {c.name: cost.seconds(SHOWN, c) for c in CARDS}
        operators.append(cost._asdict() | dict(launches=launches, bounds=bounds))
    return dict(
        benchmark='roofline',
        steps=steps,
        operators=operators,
        machine={'computed': 'from counts and data sheets; nothing was measured'},
    )
