"""A trained detector for Python programs: images of any kind in, arrays out."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmfrcnn.compat.model_size import no_larger_than
from mmfrcnn.data.images import UnreadableImageError, decodable, find_images
from mmfrcnn.deploy.device import check_device
from mmfrcnn.deploy.found import Found
from mmfrcnn.deploy.inputs import CHANNELS, ONE_IMAGE, Given
from mmfrcnn.deploy.network import Network
from mmfrcnn.deploy.precision import check_precision
from mmfrcnn.deploy.proposed import propose
from mmfrcnn.deploy.run_folder import find_checkpoint, find_config, given_config
from mmfrcnn.deploy.stream import Stream
from mmfrcnn.deploy.tiled import use_tiles
from mmfrcnn.errors import UserError, summary_of
from mmfrcnn.weights.checkpoints import read_checkpoint

# Of prepared images and these as they were given, the results.
Work = Callable[[list[dict], list[Given]], Sequence[Any]]


class Detector:
    """Finds objects in images.

    Several threads may call one detector at once: each prepares its images by itself,
    and one at a time computes. It can be pickled, as its arguments: where it is
    unpickled, the checkpoint must lie at the same path.

    Args:
        source (str | Path): A run's folder, of which the best checkpoint is taken, else
            the last; or a checkpoint file. It is loaded weights-only, and the config in
            it is read as values: nothing of it is executed.
        device (str | None): ``cpu``, ``cuda`` or ``cuda:N``; None: a GPU if there is
            one.
        score_thr (float): Leave out what scores less, besides what the model's own
            threshold leaves out.
        batch_size (int): Images at a time.
        precision (str): ``fp32``, ``bf16`` or ``fp16``.
        compiled (bool): Whether to compile the model (torch.compile).
        tiles (tuple[int, int] | None): Width and height of tiles, in pixels of the
            images, that larger images are cut into: see
            :class:`~mmfrcnn.deploy.tiled.TiledDetector`.
        tile_overlap (float): Share of a tile that it has in common with the next.
        config (str | Path | dict | Config | None): In place of the config in the
            checkpoint; a file is executed, as mmengine does.

    Attributes:
        classes (tuple[str, ...]): Class names, by label.
        device (str): Where it runs.

    Raises:
        UserError: If the checkpoint or its config is missing or can't be used.
    """

    def __init__(
        self,
        source: str | Path,
        device: str | None = None,
        *,
        score_thr: float = 0.0,
        batch_size: int = 8,
        precision: str = 'fp32',
        compiled: bool = False,
        tiles: tuple[int, int] | None = None,
        tile_overlap: float = 0.2,
        config: str | Path | dict | Config | None = None,
    ) -> None:
        if batch_size < 1:
            raise UserError(f'batch_size={batch_size}: it must be at least 1')
        self.device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
        check_device(self.device, 'device')
        check_precision(precision, self.device, 'precision')
        checkpoint = find_checkpoint(source)
        loaded = read_checkpoint(str(checkpoint))
        bound: AbstractContextManager = nullcontext()
        if config is None:
            chosen = find_config(source, checkpoint, loaded)
            weights = loaded.get('state_dict', loaded)
            bound = no_larger_than(weights, str(checkpoint))
        else:
            chosen = given_config(config)
        self._arguments = {
            'source': str(checkpoint),
            'device': device,
            'score_thr': score_thr,
            'batch_size': batch_size,
            'precision': precision,
            'compiled': compiled,
            'tiles': tiles,
            'tile_overlap': tile_overlap,
            'config': copy.deepcopy(chosen),
        }
        if tiles:
            chosen = copy.deepcopy(chosen)
            use_tiles(chosen, tiles, tile_overlap)
        with bound:
            self._network = _build(
                chosen,
                loaded,
                str(checkpoint),
                self.device,
                compiled=compiled,
                precision=precision,
            )
        self.classes = self._network.classes
        self._computing = threading.Lock()
        self._of_thread = threading.local()

    def __repr__(self) -> str:
        source, count = self._arguments['source'], len(self.classes)
        return f'Detector({source!r}, {self.device!r}), {count} classes'

    def __getstate__(self) -> dict[str, Any]:
        return self._arguments

    def __setstate__(self, arguments: dict[str, Any]) -> None:
        self.__init__(**arguments)  # type: ignore[misc]

    def __call__(self, images: Any, *, channels: str | None = None) -> Any:
        """Detect the objects in images.

        Args:
            images (Any): One image: a path, the bytes of an image file, a PIL image, a
                numpy array, uint8, (H, W), (H, W, 3) or (H, W, 4), or a tensor
                (3, H, W), RGB, uint8 or float from 0 to 1. Or several: a list or tuple
                of these, a folder, searched with all below it in the order of the
                names, or any iterable.
            channels (str | None): ``rgb`` or ``bgr``: what the colours in numpy arrays
                are; they do not say.

        Returns:
            Found | list[Found] | Iterator[Found]: Of one image, what was found in it;
            of a list, a list; of a folder or an iterable, an iterator, which reads a
            batch at a time.

        Raises:
            UserError: If an image can't be read. An iterator raises it in the place of
                the image, and goes on behind it if it is asked for the next.
        """
        return self._answer(images, channels, self._find)

    def proposals(
        self, images: Any, *, channels: str | None = None, features: bool = False
    ) -> Any:
        """Return what the first stage proposes in images, after its NMS.

        Args:
            images (Any): As for a call.
            channels (str | None): Likewise.
            features (bool): Whether to return the pooled features of each region too.

        Returns:
            Proposed | list[Proposed] | Iterator[Proposed]: As for a call.

        Raises:
            UserError: If an image can't be read, or the detector has no first stage.
        """
        if self._arguments['tiles']:
            raise UserError('proposals are not merged over tiles: leave tiles out')
        work = partial(propose, self._network, features=features)
        return self._answer(images, channels, work)

    def _find(self, prepared: list[dict], given: list[Given]) -> list[Found]:
        samples = self._network.predict(prepared)
        palette, least = self._network.palette, self._arguments['score_thr']
        return [
            Found.of(sample, one, self.classes, palette).filter(least)
            for sample, one in zip(samples, given, strict=True)
        ]

    def _answer(self, images: Any, channels: str | None, work: Work) -> Any:
        if channels not in (None, *CHANNELS):
            raise UserError(f"channels={channels!r}: it must be 'rgb' or 'bgr'")
        if isinstance(images, str | Path) and Path(images).expanduser().is_dir():
            images = iter(find_images(Path(images).expanduser(), decodable()))
        elif isinstance(images, ONE_IMAGE):
            one = Given(images, channels, 'the image')
            return next(Stream([one], 1, partial(self._batch, work)))
        if not isinstance(images, Iterable):
            Given(images, channels, 'the image').read()  # says what it may be
        given = (
            Given(one, channels, f'image {number}, counted from 0')
            for number, one in enumerate(images)
        )
        size = self._arguments['batch_size']
        answers = Stream(given, size, partial(self._batch, work))
        return list(answers) if isinstance(images, list | tuple) else answers

    def _batch(self, work: Work, given: list[Given]) -> list[Any]:
        """Answer a batch; an error stands for an image that can't be read."""
        answers: list[Any] = [self._prepared(one) for one in given]
        good = [i for i, one in enumerate(answers) if not isinstance(one, UserError)]
        if good:
            with self._computing, _current(self.device):
                found = work([answers[i] for i in good], [given[i] for i in good])
            for i, one in zip(good, found, strict=True):
                answers[i] = one
        return answers

    def _prepared(self, given: Given) -> dict[str, Any] | UserError:
        """Run the test pipeline on an image.

        Each thread has a pipeline of its own: mmdet's ``ResizeShortestEdge``, for one,
        keeps on itself the size that it has computed.
        """
        if not hasattr(self._of_thread, 'pipeline'):
            self._of_thread.pipeline = copy.deepcopy(self._network.pipeline)
        try:
            image = given.read()
            return self._network.prepare(image, 0, self._of_thread.pipeline)
        except UserError as error:
            return error
        except UnreadableImageError as error:
            return UserError(f'{given.path or given.name}: {error}')


def _current(device: str) -> AbstractContextManager:
    """Make a GPU the one that this thread's kernels are launched on."""
    return torch.cuda.device(device) if device.startswith('cuda') else nullcontext()


def _build(config: Config, loaded: dict, checkpoint: str, *args: Any, **options: Any):
    """Build the network of a config that nobody has checked the arguments of."""
    try:
        return Network(config, loaded, checkpoint, *args, **options)
    except UserError:
        raise
    except Exception as error:
        reason = summary_of(error)
        raise UserError(
            f'{checkpoint}: the model of its config could not be built ({reason})'
        ) from error
