"""``timm://NAME`` as the address of weights: those that timm downloads.

A name may end in a tag, as in timm: ``timm://resnet50d.ra2_in1k``.
"""

from __future__ import annotations

from typing import Any

from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from mmfrcnn.compat import timm
from mmfrcnn.errors import UserError, did_you_mean

SCHEME = 'timm://'


@CheckpointLoader.register_scheme(SCHEME)
def load_from_timm(filename: str, map_location: Any = None) -> dict[str, Tensor]:
    """Return a network's weights, classifier included, under timm's names.

    Args:
        filename (str): The address.
        map_location: Ignored, as the weights are on the CPU.

    Raises:
        UserError: If timm is missing or has no such weights, or they cannot be fetched.
    """
    package = timm.package()
    name = filename.removeprefix(SCHEME)
    known = package.list_pretrained()
    if name not in known and name not in {one.partition('.')[0] for one in known}:
        near = did_you_mean(name, known)
        raise UserError(f'timm {package.__version__} has no weights {name!r}.{near}')
    try:
        return package.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # of the hub, its transport, the file or the system
        reason = str(error).partition('\n')[0]
        raise UserError(
            f'{filename} could not be loaded ({reason}). Without a connection, '
            f'download {_address(package, name)} on another machine and name that file '
            'in place of it'
        ) from None


def _address(package: Any, name: str) -> str:
    found = package.get_pretrained_cfg(name)
    if found.hf_hub_id:
        return (
            f'https://huggingface.co/{found.hf_hub_id}/resolve/main/model.safetensors'
        )
    return str(found.url)
