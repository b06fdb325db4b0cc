"""Detect objects in an image, a folder of images or a video.

Writes annotated pictures (or an annotated video) and predictions.json, a COCO data set
with a score in each annotation: images [{id, file_name, width, height}], categories
[{id, name}], annotations [{image_id, category_id, bbox: [x, y, w, h], score, ...}].
Its annotations alone are a COCO results list. Run again after an interruption, it
predicts only what is missing.

Examples:
    python tools/predict.py photos work_dirs/pets --out-dir predictions
    python tools/predict.py photos CONFIG CHECKPOINT --out-dir predictions
    python tools/predict.py street.mp4 CONFIG CHECKPOINT --out-dir predictions
    python tools/predict.py photo.jpg CONFIG CHECKPOINT --out-dir out --score-thr 0.5
    python tools/predict.py slide.tif CONFIG CHECKPOINT --out-dir out --tiles 640 480
"""

from __future__ import annotations

import argparse
import sys


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('input', help='image, folder (searched below) or video')
    parser.add_argument(
        'config', help="config file, or a run's folder in place of both"
    )
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file')
    parser.add_argument('--out-dir', required=True, help='folder for the results')
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.3,
        help='draw detections from this score on (default: 0.3); the JSON holds all '
        'that the model gives',
    )
    parser.add_argument(
        '--batch-size', type=int, default=8, help='images at a time (default: 8)'
    )
    parser.add_argument(
        '--num-workers', type=int, default=2, help='processes that load images'
    )
    parser.add_argument(
        '--no-pictures', action='store_true', help='write the JSON only'
    )
    parser.add_argument(
        '--compile',
        action='store_true',
        help='compile the network (torch.compile): some minutes at the start; worth it '
        'for thousands of images of like size',
    )
    parser.add_argument(
        '--cuda-graphs',
        action='store_true',
        help='record the work for each image shape and replay it, so that no kernel is '
        'launched by itself; for small batches on a GPU',
    )
    parser.add_argument(
        '--precision',
        choices=['fp32', 'bf16', 'fp16'],
        help='multiply in half precision, or in full float32 (a GPU rounds to TF32 by '
        'default)',
    )
    parser.add_argument(
        '--tiles',
        nargs=2,
        type=int,
        metavar=('WIDTH', 'HEIGHT'),
        help='cut large images into tiles of so many of their pixels, as large as the '
        'images trained on, and merge what is found',
    )
    parser.add_argument(
        '--tile-overlap',
        type=float,
        default=0.2,
        help='share of a tile that it has in common with the next (default: 0.2)',
    )
    parser.add_argument('--device', help='cpu, cuda or cuda:N; default: a GPU if any')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='override settings of the config',
    )
    return parser.parse_args()


if __name__ == '__main__':
    arguments = parse_args()

    from start import start

    sys.exit(start('predict', arguments))
