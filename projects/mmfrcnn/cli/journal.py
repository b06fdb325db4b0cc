"""A record of finished predictions that survives a kill at any moment.

One JSON line an image, appended when its picture is on disk. The first line says whose
journal it is and what was predicted with; one of anything else is not continued. A last
line that a kill cut off is dropped.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmfrcnn.files import written_whole

TITLE = {'journal': 'mmfrcnn predict'}


class Journal(Mapping[str, dict[str, Any]]):
    """The finished predictions of a folder of results, by the name of the image.

    They are read from the file when they are asked for: in memory is where they are.

    Args:
        path (Path): The file.
        settings (Mapping[str, Any]): What the predictions depend on, JSON values only.

    Attributes:
        restarted (bool): Whether a journal of other settings was there, and is dropped.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self._versions: dict[str, list[int]] = {}
        self._places: dict[str, int] = {}
        first = TITLE | dict(settings)
        lines = _records(path)
        self.restarted = next(lines, first) != first
        # Written anew without the line that was cut off, then replaced in one step.
        with written_whole(path) as stream:
            stream.write(_line(first))
            for entry in () if self.restarted else lines:
                self._note(entry, stream.tell())
                stream.write(_line(entry))

    def is_done(self, name: str, version: list[int]) -> bool:
        """Whether an image was finished, and its file hasn't changed since."""
        return self._versions.get(name) == version

    def add(self, entry: dict[str, Any]) -> None:
        """Add one finished image, with its ``name`` and ``version``."""
        with open(self.path, 'ab') as stream:
            self._note(entry, stream.tell())
            stream.write(_line(entry))

    def __getitem__(self, name: str) -> dict[str, Any]:
        """Read the entry of an image, as it was added."""
        place = self._places[name]
        with open(self.path, 'rb') as stream:
            stream.seek(place)
            return json.loads(stream.readline())

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def _note(self, entry: dict[str, Any], place: int) -> None:
        self._versions[entry['name']] = entry['version']
        self._places[entry['name']] = place


def _line(record: Mapping[str, Any]) -> bytes:
    return f'{json.dumps(record)}\n'.encode()


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


def _records(path: Path) -> Iterator[Any]:
    """Yield the records of a journal up to the first that is broken."""
    if not path.is_file():
        return
    with open(path, 'rb') as stream:
        for number, line in enumerate(stream):
            try:
                record = json.loads(line.decode(errors='replace'))
            except (ValueError, RecursionError):
                return
            if number and not _is_entry(record):
                return
            yield record


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
