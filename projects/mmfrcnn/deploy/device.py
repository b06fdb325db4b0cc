"""Names of devices, and whether there are such."""

from __future__ import annotations

import re

import torch

from mmfrcnn.errors import UserError


def check_device(name: str, option: str) -> None:
    """Check that there is a device of a name.

    Args:
        name (str): ``cpu``, ``cuda`` or ``cuda:N``.
        option (str): What asks for it, for the message.

    Raises:
        UserError: If there is none.
    """
    kind, _, index = name.partition(':')
    if not re.fullmatch(r'cpu|cuda(:\d+)?', name):
        raise UserError(f'{option} {name}: it must be cpu, cuda or cuda:N')
    if kind == 'cuda':
        count = torch.cuda.device_count()
        if count == 0:
            raise UserError(
                f'{option} {name}: torch {torch.__version__} finds no CUDA device. '
                f'Leave {option} out to use the CPU; `mmfrcnn doctor` says what is '
                'wrong'
            )
        if int(index or 0) >= count:
            raise UserError(
                f'{option} {name}: there are {count} CUDA devices, 0 to {count - 1}'
            )
