"""Training images drawn in an order, and with an augmentation, that can be repeated.

What an image is augmented with depends on (seed, epoch, position in the epoch) alone:
not on the worker that loads it, how many there are, what they loaded before, or which
of several processes has it. So a pass over the data can begin at any batch, without
loading those before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from mmengine.dist import get_rank, get_world_size
from torch.utils.data import DataLoader

from mmfrcnn.data.randomness import own_random_numbers


class Draw(int):
    """The index of an image, which knows what its random numbers come from.

    Args:
        index (int): Of the image in the data set.
        key (tuple[int, ...]): Seed, epoch and position in the epoch.
    """

    key: tuple[int, ...]

    def __new__(cls, index: int, key: tuple[int, ...] = ()) -> Draw:
        """Make the number; unpickled, it is given its key after that."""
        draw = super().__new__(cls, index)
        draw.key = key
        return draw


class Drawn:
    """Loads the images of a batch; torch calls it where a data set has it.

    Args:
        dataset (Any): With images by index.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __call__(self, indices: Iterable[int]) -> list[Any]:
        """Return the samples of one batch."""
        return [self._load(index) for index in indices]

    def _load(self, index: int) -> Any:
        if not isinstance(index, Draw):
            return self.dataset[index]
        with own_random_numbers(index.key):
            return self.dataset[int(index)]


class NumberedBatches:
    """A batch sampler whose indices are draws, from any batch of a pass on.

    Args:
        batches (Any): The batch sampler; what else it has is had here too.
    """

    def __init__(self, batches: Any) -> None:
        self.batches = batches
        self._begun: Iterator[list[Draw]] | None = None

    def __getattr__(self, name: str) -> Any:
        if name == 'batches':  # while it is unpickled
            raise AttributeError(name)
        return getattr(self.batches, name)

    def __len__(self) -> int:
        return len(self.batches)

    def begin(self, key: tuple[int, int], done: int) -> int:
        """Begin a pass, which the next iteration goes on with.

        Args:
            key (tuple[int, int]): Seed and epoch.
            done (int): Batches at its beginning to leave out.

        Returns:
            int: How many were left out; fewer, if the pass is shorter.
        """
        self._begun = _numbered(self.batches, key)
        return sum(1 for _ in islice(self._begun, done))

    def __iter__(self) -> Iterator[Sequence[int]]:
        # Not before a first batch is asked for: torch makes iterators it does not use.
        begun, self._begun = self._begun, None
        # A pass that nobody has begun is not a training's.
        yield from self.batches if begun is None else begun


def _numbered(batches: Iterable[Any], key: tuple[int, int]) -> Iterator[list[Draw]]:
    """Number the images in the order in which all processes together have them."""
    rank, processes, position = get_rank(), get_world_size(), 0
    for batch in batches:
        places = range(position, position + len(batch))
        position += len(batch)
        yield [
            Draw(index, (*key, place * processes + rank))
            for index, place in zip(batch, places, strict=True)
        ]


def begin_pass(loader: DataLoader, seed: int, epoch: int, done: int = 0) -> int:
    """Have the next iteration of a data loader be a given pass over the data.

    Args:
        loader (DataLoader): Of a data set with images by index.
        seed (int): Of the training.
        epoch (int): From 0; gives the pass its order and its augmentation.
        done (int): Batches at its beginning to leave out.

    Returns:
        int: How many are left out; fewer, if the pass is shorter.
    """
    batches: Any = loader.batch_sampler
    if not isinstance(batches, NumberedBatches):
        batches = NumberedBatches(batches)
        # A loader lets nobody change its sampler, which it asks anew in each pass.
        object.__setattr__(loader, 'batch_sampler', batches)
        with suppress(AttributeError):  # of a list, which draws nothing
            loader.dataset.__getitems__ = Drawn(loader.dataset)  # type: ignore[attr-defined]
    sampler: Any = loader.sampler
    if not hasattr(sampler, 'set_epoch'):
        sampler = getattr(batches, 'sampler', None)
    if hasattr(sampler, 'set_epoch'):
        sampler.set_epoch(epoch)
    return batches.begin((seed, epoch), done)


def reseed_order(loader: DataLoader, seed: int) -> None:
    """Let the order of the images come from a seed, before a first one is drawn.

    A training that goes on from a checkpoint has the seed in it, and the samplers were
    built before it was read.
    """
    for sampler in (loader.sampler, getattr(loader.batch_sampler, 'sampler', None)):
        if hasattr(sampler, 'seed'):
            sampler.seed = seed
