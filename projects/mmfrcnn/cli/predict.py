"""``tools/predict.py``: detect objects in an image, a folder of images or a video."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.utils import ProgressBar
from torch.utils.data import DataLoader, Dataset

from mmfrcnn.cli.checking.registered import check_registered
from mmfrcnn.cli.config import load_config
from mmfrcnn.cli.deaths.workers import workers_explained
from mmfrcnn.cli.drawing import draw_detections, write_picture, write_video
from mmfrcnn.cli.journal import Journal, is_journal
from mmfrcnn.cli.outputs import check_folder
from mmfrcnn.cli.precision import choose_precision
from mmfrcnn.cli.predictions import write_predictions
from mmfrcnn.cli.run_folder import name_files
from mmfrcnn.cli.runtime import choose_device
from mmfrcnn.cli.sources import Pictures, Video, open_source
from mmfrcnn.cli.work_lock import held
from mmfrcnn.data.images import UnreadableImageError
from mmfrcnn.deploy.network import Network
from mmfrcnn.deploy.tiled import use_tiles
from mmfrcnn.errors import UserError, summary_of
from mmfrcnn.evaluation.coco_results import coco_results
from mmfrcnn.visualization.painter import Painter
from mmfrcnn.weights.checkpoints import read_checkpoint

SOME_LEFT_OUT = 3
"""Exit code: finished, but some images could not be read or predicted."""
JOURNAL = 'journal.jsonl'


def run(args: argparse.Namespace) -> int:
    """Predict as the command line says; return the exit code."""
    name_files(args)
    source = open_source(args.input)
    if isinstance(source, Pictures) and source.passed_over:
        print(source.about_others())
    out_dir = Path(args.out_dir)
    _check_arguments(args, source)
    check_folder('--out-dir', out_dir, lambda folder: is_journal(folder / JOURNAL))
    config = load_config(args.config, args.cfg_options)
    check_registered(config)
    if args.tiles:
        tiles = tuple(args.tiles)
        use_tiles(config, tiles, args.tile_overlap, args.cuda_graphs)
    device = choose_device(args.device)
    precision = choose_precision(args.precision, device)
    network = Network(
        config,
        read_checkpoint(args.checkpoint),
        args.checkpoint,
        device,
        compiled=args.compile,
        precision=precision,
        recorded=args.cuda_graphs,
    )

    with held(out_dir, '--out-dir'), workers_explained('--num-workers'):
        return _predict(args, source, network, config)


def _predict(
    args: argparse.Namespace, source: Pictures | Video, network: Network, config: Config
) -> int:
    """Predict what is still missing in the folder; return the exit code."""
    out_dir = Path(args.out_dir)
    journal = Journal(out_dir / JOURNAL, _settings(args, config))
    if journal.restarted:
        print('Earlier predictions here were made otherwise: starting afresh.')
    draw = None
    if not args.no_pictures:
        painter = Painter(network.classes, network.palette)
        draw = partial(draw_detections, painter, score_thr=args.score_thr)
    left_out = _predict_missing(source, network, journal, draw, out_dir, args)

    if draw and isinstance(source, Video):
        print('Drawing the video:')
        write_video(out_dir / f'{source.path.stem}.mp4', source, journal, draw)
    path = out_dir / 'predictions.json'
    count = write_predictions(path, source, journal, network.classes)
    print(f'{len(source) - len(left_out)} images, {count} detections: {path}')
    if left_out:
        print(f'{len(left_out)} of {len(source)} images are left out:')
        for name, reason in left_out.items():
            print(f'  {name}: {reason}')
        return SOME_LEFT_OUT
    return 0


def _check_arguments(args: argparse.Namespace, source: Pictures | Video) -> None:
    if args.batch_size < 1 or args.num_workers < 0:
        raise UserError('--batch-size must be at least 1, --num-workers at least 0')
    given, out_dir = Path(args.input).resolve(), Path(args.out_dir).resolve()
    if isinstance(source, Pictures) and out_dir.is_relative_to(given):
        raise UserError(
            f'--out-dir {args.out_dir} lies in the input folder, so the next run would '
            'take its pictures for input. Choose a folder elsewhere'
        )
    if given.is_relative_to(out_dir):
        raise UserError(
            f'--out-dir {args.out_dir} holds the input {args.input}, which '
            'results of its name could replace. Choose a folder elsewhere'
        )


def _settings(args: argparse.Namespace, config: Config) -> dict[str, Any]:
    """Return what the predictions depend on, apart from the images."""
    text = json.dumps(config.to_dict(), sort_keys=True, default=str)
    checkpoint = Path(args.checkpoint)
    status = checkpoint.stat() if checkpoint.is_file() else None
    return {
        'checkpoint': str(checkpoint),
        'checkpoint_version': status and [status.st_size, status.st_mtime_ns],
        'config': hashlib.sha256(text.encode()).hexdigest(),
        'pictures': not args.no_pictures,
        'precision': args.precision,
        'score_thr': args.score_thr,
    }


class PreparedImages(Dataset):
    """Reads and prepares the images of a source that are still to be predicted.

    Args:
        source (Pictures | Video): The images.
        indices (list[int]): Which of them.
        network (Network): Whose test pipeline prepares them.
    """

    def __init__(
        self, source: Pictures | Video, indices: list[int], network: Network
    ) -> None:
        self.source = source
        self.indices = indices
        self.prepare = network.prepare

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> dict[str, Any]:
        """Return ``index``, and ``image`` and ``inputs`` or an ``error``."""
        index = self.indices[place]
        try:
            image = self.source.read(index)
            inputs = self.prepare(image, index)
        except UnreadableImageError as error:
            return {'index': index, 'error': str(error)}
        return {'index': index, 'image': image, 'inputs': inputs}


def _predict_missing(
    source: Pictures | Video,
    network: Network,
    journal: Journal,
    draw: Callable[..., np.ndarray] | None,
    out_dir: Path,
    args: argparse.Namespace,
) -> dict[str, str]:
    """Predict what the journal lacks; return the images that are left out and why."""
    missing = [
        index
        for index in range(len(source))
        if not journal.is_done(source.name(index), source.version(index))
    ]
    if len(missing) < len(source):
        print(f'{len(source) - len(missing)} of {len(source)} images are done already.')
    left_out: dict[str, str] = {}
    if not missing:
        return left_out
    failure = ''
    progress = ProgressBar(len(missing))
    images = PreparedImages(source, missing, network)
    for batch in _batches(images, args):
        readable = [item for item in batch if 'error' not in item]
        for item, sample in zip(readable, _samples(network, readable), strict=True):
            if isinstance(sample, str):
                item['error'] = failure = sample
                continue
            entry = _entry(source, item['index'], sample)
            if draw and isinstance(source, Pictures):
                picture = draw(item['image'], entry['detections'])
                write_picture(out_dir / 'pictures' / entry['name'], picture)
            journal.add(entry)
        left_out |= {source.name(i['index']): i['error'] for i in batch if 'error' in i}
        progress.update(len(batch))
    print()
    if failure and not journal:
        raise UserError(f'no image could be predicted; of the last one, {failure}')
    return left_out


def _samples(network: Network, items: list[dict]) -> list[DetDataSample | str]:
    """Predict a batch; where the model fails, image by image, and say why instead."""
    if not items:
        return []
    try:
        return list(network.predict([item['inputs'] for item in items]))
    except Exception as error:  # whatever it is, the other images can do without it
        reason = summary_of(error)
    if len(items) == 1:
        return [f'the model fails: {reason}']
    return [sample for item in items for sample in _samples(network, [item])]


def _batches(images: PreparedImages, args: argparse.Namespace) -> Iterator[list]:
    # A video is decoded in order, in this process; image files in several.
    is_video = isinstance(images.source, Video)
    return iter(
        DataLoader(
            images,
            batch_size=args.batch_size,
            num_workers=0 if is_video else min(args.num_workers, len(images)),
            collate_fn=list,
        )
    )


def _entry(
    source: Pictures | Video, index: int, sample: DetDataSample
) -> dict[str, Any]:
    """Return the journal's record of an image."""
    found = sample.pred_instances
    height, width = sample.ori_shape
    return {
        'name': source.name(index),
        'version': source.version(index),
        'width': width,
        'height': height,
        'detections': coco_results(
            index + 1,
            found.bboxes,
            found.scores,
            found.labels,
            found.get('masks'),
        ),
    }
