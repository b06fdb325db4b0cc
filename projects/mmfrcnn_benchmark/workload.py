"""What the contenders work on: images and boxes drawn from a seed, the same for all."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SMALLEST_SIDE = 16.0


@dataclass(frozen=True)
class Workload:
    """One measurement's input and circumstances.

    Attributes:
        images (int): Images a batch.
        height (int): Of the images, in pixels, a multiple of 32.
        width (int): Likewise.
        objects (int): Ground truths an image.
        classes (int): Number of classes.
        device (str): ``cpu``, ``cuda`` or ``cuda:N``.
        precision (str): ``float32``, ``bfloat16`` or ``float16`` (autocast).
    """

    images: int = 1
    height: int = 800
    width: int = 1088
    objects: int = 8
    classes: int = 80
    device: str = 'cpu'
    precision: str = 'float32'

    def __str__(self) -> str:
        return (
            f'{self.images} x {self.height}x{self.width}, {self.objects} objects an '
            f'image, {self.classes} classes, {self.precision}, {self.device}'
        )

    def autocast(self) -> torch.autocast:
        """Return the context that all contenders compute in."""
        return torch.autocast(
            torch.device(self.device).type,
            dtype=getattr(torch, self.precision),
            enabled=self.precision != 'float32',
        )

    def wait(self) -> None:
        """Wait until the device has done what it was given."""
        if self.device.startswith('cuda'):
            torch.cuda.synchronize(self.device)


@dataclass
class Scene:
    """An image and its objects.

    Attributes:
        image (Tensor): RGB, uint8, shape (3, H, W).
        boxes (Tensor): xyxy in pixels, float32, shape (G, 4).
        labels (Tensor): int64 in [0, classes), shape (G,).
    """

    image: Tensor
    boxes: Tensor
    labels: Tensor


def make_scenes(work: Workload, seed: int = 0) -> list[Scene]:
    """Draw the batch: noise, and boxes of all sizes that a detector is made for.

    Sides are log-uniform from 16 px to 0.6 of the image's.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    extent = torch.tensor([float(work.width), float(work.height)])
    scenes = []
    for _ in range(work.images):
        largest = (0.6 * extent).clamp(min=SMALLEST_SIDE)
        side = SMALLEST_SIDE * (largest / SMALLEST_SIDE) ** draw(work.objects, 2)
        corner = draw(work.objects, 2) * (extent - side)
        image = torch.randint(
            0, 256, (3, work.height, work.width), generator=generator
        ).byte()
        labels = torch.randint(0, work.classes, (work.objects,), generator=generator)
        scenes.append(Scene(image, torch.cat([corner, corner + side], 1), labels))
    return scenes
