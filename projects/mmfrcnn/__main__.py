"""``python -m mmfrcnn``: the command ``mmfrcnn``, as torchrun starts it."""

from __future__ import annotations

import sys

from mmfrcnn_console import main

if __name__ == '__main__':
    sys.exit(main())
