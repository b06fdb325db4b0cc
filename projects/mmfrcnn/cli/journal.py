"""A record of finished predictions that survives a kill at any moment.

One JSON line an image, appended when its picture is on disk. The first line says whose
journal it is and what was predicted with; one of anything else is not continued. A last
line that a kill cut off is dropped.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmfrcnn.files import write_whole

TITLE = {'journal': 'mmfrcnn predict'}


class Journal:
    """The finished predictions of a folder of results.

    Args:
        path (Path): The file.
        settings (Mapping[str, Any]): What the predictions depend on, JSON values only.

    Attributes:
        entries (dict[str, dict]): Finished predictions by image name.
        restarted (bool): Whether a journal of other settings was there, and is dropped.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        first = TITLE | dict(settings)
        lines = _complete_lines(path)
        self.restarted = bool(lines) and lines[0] != first
        kept = [] if self.restarted else lines[1:]
        self.entries = {entry['name']: entry for entry in kept}
        # Written anew without the line that was cut off, then replaced in one step.
        records = [first, *self.entries.values()]
        write_whole(path, ''.join(f'{json.dumps(record)}\n' for record in records))

    def is_done(self, name: str, version: list[int]) -> bool:
        """Whether an image was finished, and its file hasn't changed since."""
        return self.entries.get(name, {}).get('version') == version

    def add(self, entry: dict[str, Any]) -> None:
        """Add one finished image, with its ``name`` and ``version``."""
        self.entries[entry['name']] = entry
        with open(self.path, 'a') as stream:
            stream.write(f'{json.dumps(entry)}\n')


def is_journal(path: Path) -> bool:
    """Whether a file is one of these journals, and not another tool's."""
    if not path.is_file():
        return False
    with open(path, errors='replace') as stream:
        first = stream.readline(1 << 16)
    try:
        return TITLE.items() <= json.loads(first).items()
    except (ValueError, RecursionError, AttributeError):
        return False


def _complete_lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a journal up to the first that is broken."""
    records: list[dict[str, Any]] = []
    if path.is_file():
        for line in path.read_text(errors='replace').split('\n'):
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                break
            if records and not _is_entry(record):
                break
            records.append(record)
    return records


def _is_entry(record: Any) -> bool:
    """Whether a record is of an image: what is written of it must be there."""
    return (
        isinstance(record, dict)
        and isinstance(record.get('name'), str)
        and isinstance(record.get('version'), list)
        and all(map(_is_number, (record.get('width'), record.get('height'))))
        and isinstance(record.get('detections'), list)
        and all(map(_is_detection, record['detections']))
    )


def _is_detection(found: Any) -> bool:
    box = found.get('bbox') if isinstance(found, dict) else None
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(map(_is_number, (*box, found.get('score'), found.get('category_id'))))
    )


def _is_number(value: Any) -> bool:
    """Whether it is a number; Python reads NaN and hundreds of digits as well."""
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max
