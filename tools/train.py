"""Train a detector from a config file.

Examples:
    python tools/train.py configs/shapes/faster-rcnn_r18_fpn_shapes.py
    python tools/train.py CONFIG --work-dir work_dirs/mine --auto-scale-lr --amp
    python tools/train.py CONFIG --resume            # continue after an interruption
    python tools/train.py CONFIG --cfg-options train_dataloader.batch_size=4
    python tools/train.py CONFIG --log tensorboard   # or wandb, mlflow
    bash tools/dist_train.sh CONFIG 8                # 8 GPUs of this machine
    torchrun --nproc-per-node=8 -m mmfrcnn train CONFIG --launcher pytorch  # the same

The work folder then holds the checkpoints, results.csv (a row at each validation),
curves.png, labels.png, train_batch.jpg (the first images as the network is fed) and
val_predictions.jpg (ground truth beside detections).
"""

from __future__ import annotations

import argparse
import sys

PRECISIONS = ('auto', 'bf16', 'fp16')


def precision(word: str) -> str:
    """Return the value of ``--amp``, which takes the word after it for its own."""
    if word not in PRECISIONS:
        raise argparse.ArgumentTypeError(
            f'{word} is no precision; write --amp after the config, or one of '
            f'{", ".join(PRECISIONS)} after --amp'
        )
    return word


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir',
        help='folder for logs and checkpoints; without it the work_dir of the config, '
        'or work_dirs/CONFIG_NAME',
    )
    parser.add_argument(
        '--amp',
        nargs='?',
        const='auto',
        type=precision,
        choices=PRECISIONS,
        help='train in mixed precision: bfloat16, or float16 with a scaled loss (on a '
        'GPU only); without a value, bfloat16 where the device has it',
    )
    parser.add_argument(
        '--deterministic',
        action='store_true',
        help='train so that the same command gives the same weights, to the bit, on '
        "the same machine; with seed 0 where the config's randomness has none",
    )
    parser.add_argument(
        '--profile',
        action='store_true',
        help='say in the log where the time of a step goes, stage by stage, and write '
        'a trace of some iterations to WORK_DIR/profile.json',
    )
    parser.add_argument(
        '--compile',
        action='store_true',
        help='compile the network and the losses (torch.compile): some minutes at the '
        'start, and again for a new image shape; worth it for hours on a GPU',
    )
    parser.add_argument(
        '--cuda-graphs',
        action='store_true',
        help='record forward and backward for each image shape and replay them, so '
        'that no kernel is launched by itself; for small batches on one GPU',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help="scale the learning rate by batch size over the config's base_batch_size",
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue from this checkpoint or, with no path, from the last one in '
        'the work folder',
    )
    parser.add_argument(
        '--on-nan',
        choices=['stop', 'skip', 'rollback'],
        default='stop',
        help='when a loss or gradient is not finite: end (the default), leave the step '
        'out, or go back to the last checkpoint with half the learning rate, at most 3 '
        'times; the first such step is written to WORK_DIR/nan, for tools/replay.py',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='override settings of the config: a.b.0.c=1, key="[(a,b),(c,d)]"',
    )
    parser.add_argument(
        '--log',
        nargs='+',
        action='extend',
        default=[],
        choices=['tensorboard', 'wandb', 'mlflow'],
        help='send losses, metrics and pictures there too; each needs the package of '
        'its name',
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
        help='what started the processes (set by dist_train.sh, slurm_train.sh)',
    )
    parser.add_argument(
        '--local-rank', '--local_rank', type=int, default=0, help=argparse.SUPPRESS
    )
    return parser.parse_args()


if __name__ == '__main__':
    arguments = parse_args()

    from start import start

    sys.exit(start('train', arguments))
