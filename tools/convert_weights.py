"""Convert weights of torchvision, detectron2 or mmdet, or ours to torchvision's.

Of torchvision: fasterrcnn_resnet50_fpn, its v2, mobilenet_v3_large_fpn and its 320. Of
detectron2: R50 and R101 with C4, DC5 or FPN, .pkl or .pth. Their configs are in
configs/torchvision and configs/detectron2. mmdet's Faster R-CNNs have our names: of
them all but the weights is left out. Every tensor has to be accounted for, and nothing
in a file is executed. The output is .pth or .safetensors, as its name says.

Examples:
    python tools/convert_weights.py --from torchvision IN.pth OUT.pth
    python tools/convert_weights.py --from detectron2 model_final.pkl OUT.safetensors
    python tools/convert_weights.py --from mmdet IN.pth OUT.pth --config CONFIG
    python tools/convert_weights.py --to torchvision OURS.pth OUT.pth
"""

from __future__ import annotations

import argparse
import sys


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    direction = parser.add_mutually_exclusive_group(required=True)
    direction.add_argument(
        '--from',
        dest='source',
        choices=['torchvision', 'detectron2', 'mmdet'],
        help='where the weights are from; they become ours',
    )
    direction.add_argument(
        '--to',
        dest='destination',
        choices=['torchvision'],
        help='whose the weights become; they are ours',
    )
    parser.add_argument('input', help='file of weights')
    parser.add_argument('output', help='file to write: .pth or .safetensors')
    parser.add_argument(
        '--config', help='with --from: compare names and shapes with this model'
    )
    arguments = parser.parse_args()
    if arguments.destination and arguments.config:
        parser.error('--config goes with --from')
    return arguments


if __name__ == '__main__':
    arguments = parse_args()

    from start import start

    sys.exit(start('convert_weights', arguments))
