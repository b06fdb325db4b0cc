#!/usr/bin/env python
"""Say what is wrong with this installation, and the commands that cure it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# By its path, of a checkout or of the package that holds this file: importing the
# package needs the very things that may be broken.
FILES = [
    package / 'compat/doctor/__init__.py'
    for package in (HERE.parent / 'projects/mmfrcnn', HERE.parents[1])
]

if __name__ == '__main__':
    file = next(file for file in FILES if file.is_file())
    spec = importlib.util.spec_from_file_location('mmfrcnn_doctor', file)
    doctor = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = doctor  # where `dataclass` looks its types up
    spec.loader.exec_module(doctor)
    sys.exit(doctor.main())
