"""A dumped step, computed again: its losses, and where they stop being finite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.utils._pytree import tree_leaves

from mmfrcnn.modeling.sampler import balanced_samplers
from mmfrcnn.training.not_finite.dump import PRECISIONS, StepDump


@dataclass
class Numbers:
    """The numbers in a tensor.

    Attributes:
        name: What it is: an input, an output, a weight.
        shape: Its shape.
        low: The smallest that is finite; NaN if none is.
        high: The largest.
        bad: How many are not finite.
        count: How many there are.
    """

    name: str
    shape: tuple[int, ...]
    low: float
    high: float
    bad: int
    count: int

    @classmethod
    def of(cls, name: str, tensor: Tensor) -> Numbers:
        """Look through a tensor of any shape."""
        values = tensor.detach().float()
        finite = values[values.isfinite()]
        ends = [float(end) for end in finite.aminmax()] if len(finite) else [torch.nan]
        bad = values.numel() - len(finite)
        return cls(name, tuple(values.shape), ends[0], ends[-1], bad, values.numel())

    def __str__(self) -> str:
        shape = 'x'.join(map(str, self.shape)) or 'a number'
        part = f', {self.bad} of {self.count} not finite' if self.bad else ''
        return f'{self.name} ({shape}): {self.low:.4g} to {self.high:.4g}{part}'


@dataclass
class Found:
    """The first module whose output is not finite.

    Attributes:
        module: Its name in the model, and its class.
        numbers: Its inputs and own weights, and the outputs that are not finite.
    """

    module: str
    numbers: list[Numbers]


@dataclass
class Replayed:
    """What a step gives when it is computed again.

    Attributes:
        losses: Their terms and their sum, by name.
        gradient_norm: Euclidean norm of the gradient of their sum.
        found: The first module whose output is not finite, None if all outputs are.
        reproduced: Whether what was not finite is not finite again.
    """

    losses: dict[str, float]
    gradient_norm: float
    found: Found | None
    reproduced: bool


def replay(model: Any, step: StepDump) -> Replayed:
    """Compute the losses of a step again, and their gradient.

    Args:
        model (BaseDetector): With the dumped weights, on the device to compute on.
        step (StepDump): The step.

    Returns:
        Replayed: What came of it. With our samplers the samples are those of the step.
    """
    _set_mode(model, step)
    torch.manual_seed(step.seed)
    for sampler, draws in zip(balanced_samplers(model), step.draws, strict=True):
        sampler.draws = draws
    dtype = PRECISIONS[step.precision]
    device = next(model.parameters()).device.type
    context = torch.autocast(device, dtype) if dtype else nullcontext()
    batch = dict(inputs=step.inputs, data_samples=step.data_samples())
    with first_not_finite(model) as found, context:
        data = model.data_preprocessor(batch, True)
        losses = model(**data, mode='loss')
    total, scalars = model.parse_losses(losses)
    total.backward()
    gradients = [one.grad for one in model.parameters() if one.grad is not None]
    norm = get_total_norm(gradients)
    return Replayed(
        losses={n: float(one.detach()) for n, one in scalars.items() if 'loss' in n},
        gradient_norm=float(norm),
        found=found[0] if found else None,
        reproduced=not bool((total if step.terms else norm).isfinite()),
    )


def _set_mode(model: Any, step: StepDump) -> None:
    if step.trained_parts is not None:
        model.train_only(step.trained_parts)
    model.train()
    evaluating, frozen = set(step.evaluating), set(step.frozen)
    for name, module in model.named_modules():
        module.training = name not in evaluating
    for name, weight in model.named_parameters():
        weight.requires_grad_(name not in frozen)


@contextmanager
def first_not_finite(model: nn.Module) -> Iterator[list[Found]]:
    """Find the first of a model's modules to give an output that is not finite.

    A module ends after those in it: so it is the innermost one.

    Yields:
        list[Found]: Filled while the model runs, with one at most.
    """
    found: list[Found] = []

    def look(name: str) -> Any:
        def after(module: nn.Module, given: tuple, named: dict, output: Any) -> None:
            bad = [one for one in _numbers('output', output) if one.bad]
            if bad and not found:
                weights = list(module.parameters(recurse=False))
                place = f'{name or "the model"} ({type(module).__name__})'
                inputs = _numbers('input', (given, named))
                found.append(
                    Found(place, [*inputs, *_numbers('weight', weights), *bad])
                )

        return after

    handles = [
        module.register_forward_hook(look(name), with_kwargs=True)
        for name, module in model.named_modules()
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _numbers(name: str, values: Any) -> Sequence[Numbers]:
    """Look through all tensors of numbers with a fraction in some containers."""
    return [
        Numbers.of(name, one)
        for one in tree_leaves(values)
        if isinstance(one, Tensor) and one.is_floating_point() and one.numel()
    ]
