"""What today's torch, numpy, setuptools and Python ask of the mm stack.

`install` mends mmengine, mmcv and mmdet in place, once, before anything of mmdet is
imported. Each mend is a file of its own and does nothing where it is not needed: a
compiled mmcv and the OneDL forks are used as they are.
"""

from __future__ import annotations

import importlib.util

from mmfrcnn.compat import extension
from mmfrcnn.compat.doctor.checks import DEFAULTS, PIP


def install() -> None:
    """Mend the installed mm stack; calling it again changes nothing.

    Raises:
        ModuleNotFoundError: If a part of it is not installed, with the command for it.
    """
    missing = [name for name in DEFAULTS if importlib.util.find_spec(name) is None]
    if missing:
        wanted = ' '.join(DEFAULTS[name] for name in missing)
        raise ModuleNotFoundError(
            f'mmfrcnn needs {", ".join(missing)}: {PIP} install {wanted}',
            name=missing[0],
        )
    extension.install()
    # They import mmengine, which the doctor must be able to do without.
    from mmfrcnn.compat import (
        checkpoint,
        config_bases,
        config_layout,
        config_text,
        packages,
    )

    packages.install()
    checkpoint.install()
    config_bases.install()
    config_text.install()
    config_layout.install()
