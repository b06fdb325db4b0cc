"""The objects of training images as the network is fed them.

Shapes: G objects of all images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmfrcnn.evaluation.ledger.groups import aspects_of, sizes_of
from mmfrcnn.structures.image_batch import ImageBatch


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of some images, in pixels of the network's input.

    Attributes:
        images (list[ImageBatch]): Of one image each, with its ground truth.
        boxes (np.ndarray): xyxy, float64, shape (G, 4), image by image.
        padded (np.ndarray): Width and height of each object's padded image, (G, 2).
    """

    images: list[ImageBatch]
    boxes: np.ndarray
    padded: np.ndarray

    @classmethod
    def of(cls, images: Sequence[ImageBatch]) -> Objects:
        """Collect the objects of images.

        Args:
            images (Sequence[ImageBatch]): Of one image each, as training is fed it, on
                the host. Boxes without area, which training leaves out, and ignored
                regions are no objects.
        """
        boxes, padded = [np.zeros((0, 4))], [np.zeros((0, 2), int)]
        for image in images:
            assert image.gt is not None
            boxes.append(image.gt.boxes[image.gt.mask].double().numpy())
            size = np.array(image[0]['pad_shape'][1::-1])
            padded.append(np.tile(size, (len(boxes[-1]), 1)))
        return cls(list(images), np.concatenate(boxes), np.concatenate(padded))

    def part(self, chosen: slice | list[int]) -> Objects:
        """Return the boxes of some objects, without the images."""
        return Objects([], self.boxes[chosen], self.padded[chosen])

    @property
    def sides(self) -> np.ndarray:
        """Width and height of each object, float64, shape (G, 2)."""
        return self.boxes[:, 2:] - self.boxes[:, :2]

    @property
    def sizes(self) -> np.ndarray:
        """One of `SIZES` an object, by COCO's bounds of the area, shape (G,)."""
        return sizes_of(self.boxes)

    @property
    def aspects(self) -> np.ndarray:
        """One of `ASPECTS` an object, shape (G,)."""
        return aspects_of(self.boxes)


def spread(total: int, number: int) -> list[int]:
    """Return so many of the numbers below a total, or all, evenly spread.

    Example:
        >>> spread(10, 4)
        [0, 2, 5, 7]
    """
    number = min(number, total)
    return [index * total // number for index in range(number)]
