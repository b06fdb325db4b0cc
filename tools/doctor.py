#!/usr/bin/env python
"""Say what is wrong with this installation, and the commands that cure it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

# By its path: importing the package needs the very things that may be broken.
FILE = (
    Path(__file__).resolve().parents[1] / 'projects/mmfrcnn/compat/doctor/__init__.py'
)

if __name__ == '__main__':
    spec = importlib.util.spec_from_file_location('mmfrcnn_doctor', FILE)
    doctor = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = doctor  # where `dataclass` looks its types up
    spec.loader.exec_module(doctor)
    sys.exit(doctor.main())
