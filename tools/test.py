"""Evaluate a checkpoint on the test set of a config.

Examples:
    python tools/test.py work_dirs/pets              # the best checkpoint of a run
    python tools/test.py CONFIG CHECKPOINT
    python tools/test.py CONFIG CHECKPOINT --out results.json --show-dir pictures
    python tools/test.py CONFIG CHECKPOINT --tta     # with test-time augmentation
    bash tools/dist_test.sh CONFIG CHECKPOINT 8      # 8 GPUs of this machine
    torchrun --nproc-per-node=8 -m mmfrcnn test CONFIG CHECKPOINT --launcher pytorch
"""

from __future__ import annotations

import argparse
import sys


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'config', help="config file, or a run's folder in place of both"
    )
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file')
    parser.add_argument(
        '--work-dir',
        help='folder for the log and the metrics; without it the work_dir of the '
        'config, or work_dirs/CONFIG_NAME',
    )
    parser.add_argument(
        '--out',
        metavar='FILE',
        help='write all detections: FILE.pkl as MMDetection does, for its '
        'analysis tools; FILE.json as a COCO results list: '
        '[{image_id, category_id, bbox: [x, y, w, h], score}]',
    )
    parser.add_argument('--show', action='store_true', help='show the pictures')
    parser.add_argument(
        '--show-dir',
        help='save pictures (ground truth beside detections) in this folder, below '
        'WORK_DIR/TIMESTAMP unless it is absolute',
    )
    parser.add_argument(
        '--wait-time', type=float, default=2, help='seconds a shown picture stays'
    )
    parser.add_argument(
        '--tta',
        action='store_true',
        help="test-time augmentation: the config's tta_model and tta_pipeline, or "
        'horizontal flip',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='override settings of the config: a.b.0.c=1, key="[(a,b),(c,d)]"',
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
    parser.add_argument(
        '--verbose',
        action='store_true',
        help='print all that the log file holds, as MMDetection does',
    )
    parser.add_argument('--device', help='cpu, cuda or cuda:N; default: a GPU if any')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes (set by dist_test.sh, slurm_test.sh)',
    )
    parser.add_argument(
        '--local-rank', '--local_rank', type=int, default=0, help=argparse.SUPPRESS
    )
    return parser.parse_args()


if __name__ == '__main__':
    arguments = parse_args()

    from start import start

    sys.exit(start('test', arguments))
