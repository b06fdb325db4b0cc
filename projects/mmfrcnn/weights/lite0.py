"""EfficientNet-Lite0's weights as ml-illustrated published them, under timm's names.

They are of timm's ``tf_efficientnet_lite0``, which pads as TensorFlow does, with an
epsilon of 1e-3: ``efficientnet_lite0`` has the same tensors and computes another thing.
Its images were (x - 127) / 128, red first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain

from torch import Tensor

BLOCKS_OF_STAGES = (1, 2, 2, 3, 3, 4, 1)
PLACES = list(
    chain.from_iterable(
        [(stage, block) for block in range(count)]
        for stage, count in enumerate(BLOCKS_OF_STAGES)
    )
)
"""Stage, and block in it, of each block in a row."""

OUTSIDE = {
    '_conv_stem': 'conv_stem',
    '_bn0': 'bn1',
    '_conv_head': 'conv_head',
    '_bn1': 'bn2',
    '_fc': 'classifier',
}
# The first block has no expansion, and timm counts a block's parts by their order.
FIRST = {
    '_depthwise_conv': 'conv_dw',
    '_bn1': 'bn1',
    '_project_conv': 'conv_pw',
    '_bn2': 'bn2',
}
INSIDE = {
    '_expand_conv': 'conv_pw',
    '_bn0': 'bn1',
    '_depthwise_conv': 'conv_dw',
    '_bn1': 'bn2',
    '_project_conv': 'conv_pwl',
    '_bn2': 'bn3',
}


def names_in_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the same tensors under timm's names.

    Example:
        >>> list(names_in_timm({'_blocks.4._bn2.bias': None, '_fc.bias': None}))
        ['blocks.2.1.bn3.bias', 'classifier.bias']
    """
    return {_in_timm(key): value for key, value in state.items()}


def _in_timm(key: str) -> str:
    inside = re.fullmatch(r'_blocks\.(\d+)\.(\w+)\.(\w+)', key)
    if inside is None:
        module, _, tensor = key.partition('.')
        return f'{OUTSIDE[module]}.{tensor}'
    number, module, tensor = int(inside[1]), inside[2], inside[3]
    stage, block = PLACES[number]
    return f'blocks.{stage}.{block}.{(INSIDE if number else FIRST)[module]}.{tensor}'
