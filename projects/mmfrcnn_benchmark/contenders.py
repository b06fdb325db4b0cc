"""The detectors that are compared, behind one interface.

All have a ResNet-50 FPN, the same number of anchors, samples, proposals and detections
and, but for what is theirs by design, the same work: see ``docs/performance.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmfrcnn.errors import UserError, did_you_mean
from mmfrcnn.training.stages import Region
from mmfrcnn_benchmark.workload import Scene, Workload

# What every contender is built to, the usual R50-FPN's numbers.
PROPOSALS_BEFORE_NMS = {True: 2000, False: 1000}  # by whether it trains
PROPOSALS = 1000
SCORE_THRESHOLD = 0.05


class Contender:
    """A detector of one framework.

    Args:
        work (Workload): What it will be run on.
        training (bool): Whether it is to train or to infer.
        channels_last (bool): Memory order of the convolutions.

    Attributes:
        name (str): The framework.
        model (nn.Module): The detector, on its device.
    """

    name: ClassVar[str]
    model: Any  # an nn.Module; its parts have each framework's names

    def __init__(
        self, work: Workload, training: bool, channels_last: bool = False
    ) -> None:
        self.work = work
        self.training = training
        self.model = self.build().to(work.device).train(training)
        self.set_memory_format(channels_last)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        # Weights do not move, so that every repetition does the same work.
        self.optimizer = torch.optim.SGD(trained, lr=0.0, momentum=0.9)

    def set_memory_format(self, channels_last: bool) -> None:
        """Reorder the weights of convolutions."""
        order = torch.channels_last if channels_last else torch.contiguous_format
        self.model.to(memory_format=order)
        self.channels_last = channels_last

    @property
    def settings(self) -> str:
        """Say how it is run, in words."""
        order = 'channels_last' if self.channels_last else 'contiguous'
        mode = 'train mode' if self.training else 'eval mode, inference_mode'
        return f'{order}, {mode}'

    # What a framework defines.

    @classmethod
    def version(cls) -> str:
        """Return the framework's version; raises ImportError where it is missing."""
        raise NotImplementedError

    def build(self) -> nn.Module:
        """Build the detector with the shared weights, on the CPU."""
        raise NotImplementedError

    def prepare(self, scenes: list[Scene]) -> Any:
        """Bring scenes to the device in the framework's form; never timed."""
        raise NotImplementedError

    def losses(self, batch: Any) -> Tensor:
        """Pre-process, run forward, return the sum of the losses."""
        raise NotImplementedError

    def detect(self, batch: Any) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return boxes (D, 4), scores (D,), labels (D,) of each image."""
        raise NotImplementedError

    def without_preprocessing(self, batch: Any) -> Callable[[], object]:
        """Pre-process, and return a function that does the rest of the forward."""
        raise NotImplementedError

    def regions(self) -> list[Region]:
        """Say which functions are which stage."""
        raise NotImplementedError

    def up_to_neck(self) -> list[nn.Module]:
        """Return the modules between the images and the pyramid, the neck last."""
        raise NotImplementedError

    def neck_output(self, maps: list[Tensor]) -> Any:
        """Return P2 to P6 as the neck would."""
        raise NotImplementedError

    # What is the same for all.

    def step(self, batch: Any) -> None:
        """One whole step: of training, or one inference."""
        if self.training:
            self.optimizer.zero_grad(set_to_none=True)
            self.backward(self.forward(batch))
            self.update()
        else:
            self.infer(batch)

    def forward(self, batch: Any) -> Tensor:
        """Return the training loss under the workload's precision."""
        with self.work.autocast():
            return self.losses(batch)

    def backward(self, loss: Tensor) -> None:
        """Run the backward pass."""
        loss.backward()

    def update(self) -> None:
        """Run the optimizer."""
        self.optimizer.step()

    @torch.inference_mode()
    def infer(self, batch: Any) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Detect under the workload's precision, without gradients."""
        with self.work.autocast():
            return self.detect(batch)


def contender_types() -> dict[str, type[Contender]]:
    """Return all known contenders by name, ours first."""
    from mmfrcnn_benchmark.openmmlab import Ours, StockMMDet
    from mmfrcnn_benchmark.torchvision import TorchVision

    return {one.name: one for one in (Ours, StockMMDet, TorchVision)}


def choose_contenders(names: list[str] | None) -> tuple[list[type[Contender]], list]:
    """Return the contenders that can run here, and ``(name, why not)`` of the others.

    Args:
        names (list[str] | None): Those asked for; None: all.

    Raises:
        UserError: If a name is unknown, or one asked for cannot be imported.
    """
    known = contender_types()
    for name in names or ():
        if name not in known:
            raise UserError(
                f"--peers: no contender '{name}'; there are {', '.join(known)}."
                f'{did_you_mean(name, known)}'
            )
    chosen, missing = [], []
    for name, kind in known.items():
        if names is not None and name not in names and name != 'mmfrcnn':
            continue
        try:
            kind.version()
        except ImportError as error:
            if names is not None and name in names:
                raise UserError(
                    f'--peers {name}: it cannot be imported here: {error}'
                ) from error
            missing.append((name, f'cannot be imported here ({error})'))
        else:
            chosen.append(kind)
    return chosen, missing
