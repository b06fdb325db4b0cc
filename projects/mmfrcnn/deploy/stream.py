"""Images in, answers out, a batch at a time; what fails does so at its place."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Answer = Callable[[list], list]


class Stream(Iterator):
    """The answers for images that are read when they are wanted.

    One batch of images is read ahead, so memory does not grow with their number. For an
    image that can't be answered its error is raised in its place; the stream then goes
    on behind it. What the images' own iterator raises ends it.

    Args:
        images (Iterable): The images.
        batch_size (int): How many are read and answered at a time.
        answer (Callable): Returns, for a list of images, as many answers, where an
            exception stands for an image that has none.
    """

    def __init__(self, images: Iterable, batch_size: int, answer: Answer) -> None:
        self._images = iter(images)
        self._size = batch_size
        self._answer = answer
        self._ready: deque[Any] = deque()

    def __next__(self) -> Any:
        """Return the next answer, or raise what stands in its place."""
        if not self._ready:
            self._read()
        answer = self._ready.popleft()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _read(self) -> None:
        """Make the next answers ready: at least one, or why there is none."""
        batch: list[Any] = []
        end: list[BaseException] = []
        while len(batch) < self._size and not end:
            try:
                batch.append(next(self._images))
            except Exception as error:  # StopIteration among others
                end.append(error)
        if batch:
            self._ready.extend(self._answer(batch))
        self._ready.extend(end)
