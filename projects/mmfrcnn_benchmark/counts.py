"""How many operators a step dispatches, and how many make the host wait for a GPU.

Ours are counted on a fake device, which sees copies as well. The peers ask for values
on their way, which a fake device does not have: theirs are counted on a CPU, by the
operators that need a value or a size from the device, and their copies are not seen.
Pre-processing of the images is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mmfrcnn.deploy.fold import fold_batch_norms
from mmfrcnn_benchmark.compare import Progress
from mmfrcnn_benchmark.contenders import Contender
from mmfrcnn_benchmark.fake_device import DEVICE, FakeDevice, fake_device
from mmfrcnn_benchmark.machine import describe_machine
from mmfrcnn_benchmark.openmmlab import Ours
from mmfrcnn_benchmark.workload import Workload, make_scenes

WAITING = (
    'aten.nonzero',
    'aten._local_scalar_dense',
    'aten._unique',
    'aten.unique',
    'aten.masked_select',
    'aten.is_nonzero',
    'aten.item',
    'aten.equal',
    'aten.bincount',
    'aten.repeat_interleave.Tensor',
    'torchvision.nms',
)
INDEXING = ('aten.index.', 'aten.index_put', 'aten._index_put')
BATCHES = (2, 8, 16)


class Counted(TorchDispatchMode):
    """Counts all operators, and those that make the host wait.

    Attributes:
        total (int): Operators.
        waits (Counter): Those that wait, by name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        self.waits: Counter = Counter()
        self._inside = False  # an operator: what its CPU kernel asks is no matter

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Count a call."""
        name = str(function)
        self.total += 1
        if name.startswith(WAITING):
            self.waits[name] += 1
        elif name.startswith(INDEXING):
            masks = [i for i in args[1] if i is not None and i.dtype == torch.bool]
            if masks:
                self.waits[name + ' by mask'] += len(masks)
        self._inside = True
        try:
            return function(*args, **(kwargs or {}))
        finally:
            self._inside = False


def count_operators(function: Callable[[], object]) -> Counted:
    """Call a function and count, with what `tolist`, `numpy` and `cpu` ask as well."""
    counted = Counted()
    originals = {name: getattr(Tensor, name) for name in ('tolist', 'numpy', 'cpu')}

    def spy(name: str) -> Callable:
        def method(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            if not counted._inside:
                counted.waits[f'Tensor.{name}'] += 1
            return originals[name](tensor, *args, **kwargs)

        return method

    try:
        for name in originals:
            setattr(Tensor, name, spy(name))
        with counted:
            function()
    finally:
        for name, method in originals.items():
            setattr(Tensor, name, method)
    return counted


def compare_counts(
    kinds: list[type[Contender]], work: Workload, *, progress: Progress, **_: Any
) -> dict:
    """Count a training forward and an inference of every contender and batch.

    Args:
        kinds (list[type[Contender]]): Who takes part.
        work (Workload): On what; ``images`` is replaced by 2, 8 and 16.
        progress (Callable): Told the progress.

    Returns:
        dict: ``counts``: by contender, ``train`` or ``infer`` and batch: operators and
        waits.
    """
    counts: dict[str, dict] = {}
    for kind in kinds:
        count = _count_on_fake_device if kind is Ours else _count_on_cpu
        counts[kind.name] = {}
        for mode, training in (('train', True), ('infer', False)):
            progress(f'counting {kind.name}, {mode}')
            for images, found in count(kind, work, training).items():
                counts[kind.name][f'{mode} {images}'] = dict(
                    operators=found.total, waits=sum(found.waits.values())
                )
    return dict(
        benchmark='counts',
        workload=vars(work),
        machine=describe_machine(work.device),
        counts=counts,
    )


def _count_on_cpu(
    kind: type[Contender], work: Workload, training: bool
) -> dict[int, Counted]:
    """Count the second step of each batch: anchors are made once a shape."""
    contender, found = kind(work, training), {}
    for images in BATCHES:
        step = _step(contender, images)
        step()
        found[images] = count_operators(step)
    return found


def _count_on_fake_device(
    kind: type[Contender], work: Workload, training: bool
) -> dict[int, FakeDevice]:
    """Count likewise, on a GPU that is not there."""
    found = {}
    contender = kind(work, training=True)  # to infer, it would be made for a CPU
    contender.training = training
    if not training:
        fold_batch_norms(contender.model.eval())
    with fake_device():
        contender.work = replace(work, device=str(DEVICE))
        contender.model.to(DEVICE)
        for images in BATCHES:
            step = _step(contender, images)
            step()
            with FakeDevice() as found[images]:
                step()
    return found


def _step(contender: Contender, images: int) -> Callable[[], object]:
    """Return the forward of a step, pre-processing done."""
    batch = contender.prepare(make_scenes(replace(contender.work, images=images)))
    forward = contender.without_preprocessing(batch)
    return torch.set_grad_enabled(contender.training)(forward)
