"""``tools/gpu_check.py``: all that a GPU can say, within some minutes."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmfrcnn.cli.outputs import check_folder
from mmfrcnn.cli.runtime import choose_device
from mmfrcnn_benchmark.card_tests import run_tests, test_files
from mmfrcnn_benchmark.check_tables import render_check
from mmfrcnn_benchmark.compare import compare_steps
from mmfrcnn_benchmark.contenders import Contender, choose_contenders
from mmfrcnn_benchmark.openmmlab import Ours, Recorded
from mmfrcnn_benchmark.operators import OF_MAPS, OPERATORS, compare_operator
from mmfrcnn_benchmark.parts import Part, PartError, Worker
from mmfrcnn_benchmark.workload import Workload

# What is written, and no other name.
JSON, TABLES, LOG = 'gpu_check.json', 'gpu_check.md', 'gpu_check.log'
# The beginning of the first, by which a folder is known again.
MARK = b'{\n "benchmark": "gpu_check"'

# Of the time: what tests may take of all, and any part alone.
FOR_TESTS, FOR_ONE = 0.5, 0.25
# A part is not begun with less than this left, in seconds.
SHORTEST = 10.0
# Turns of each contender: of an operator or a large batch, and of one image.
FEWEST_ROUNDS, MOST_ROUNDS = 5, 40
# Images of the largest batch whose step is recorded: more keep the card busy anyway.
LARGEST_RECORDED = 8


def run(args: argparse.Namespace) -> int:
    """Run the parts, write what each says, and print the tables.

    Returns:
        int: 0 if all tests passed; 1 if any failed, or did not run to its end.
    """
    began = time.monotonic()
    device = choose_device(args.device)
    if device == 'cpu':  # before a worker imports Triton: it is asked once
        os.environ.setdefault('TRITON_INTERPRET', '1')
    choose_contenders(args.peers)  # a wrong name is said at once
    folder = Path(args.out).resolve()
    check_folder('--out', folder, _is_own)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LOG).write_bytes(b'')
    report = Report(folder, args.minutes)
    limit = 60 * args.minutes
    for parts, share in (
        (plan_tests(args), FOR_TESTS),
        (plan_measures(args, device), 1.0),
    ):
        # Each kind in processes of its own: tests change what is global.
        worker = Worker(device, folder / LOG)
        try:
            for part in parts:
                left = began + share * limit - time.monotonic()
                report.add(part, worker, left, FOR_ONE * limit)
        finally:
            worker.stop()
    print(f'\n{render_check(report.content)}')
    print(f'All of it is in {folder}.')
    return 0 if report.tests_passed() else 1


class Report:
    """What the parts said so far, on the disk as soon as it is known.

    Args:
        folder (Path): Where it is written.
        minutes (float): The time that was given.
    """

    def __init__(self, folder: Path, minutes: float) -> None:
        self.folder = folder
        self.content: dict[str, Any] = dict(
            benchmark='gpu_check', minutes=minutes, machine={}, parts=[]
        )
        self._write()

    def add(self, part: Part, worker: Worker, left: float, most: float) -> None:
        """Run a part if there is time for it, and keep what became of it.

        Args:
            part (Part): What.
            worker (Worker): By whom.
            left (float): Seconds that are left for parts of its kind.
            most (float): Seconds that it may take.
        """
        entry: dict[str, Any] = dict(part=part.name)
        began = time.monotonic()
        if left < SHORTEST:
            entry['left_out'] = 'no time was left'
        else:
            try:
                result = worker.run(part, min(left, most))
                # The same for all.
                self.content['machine'] = result.pop('machine', self.content['machine'])
                entry['result'] = result
            except PartError as error:
                entry['failed'] = str(error)
            entry['seconds'] = round(time.monotonic() - began, 1)
        self.content['parts'].append(entry)
        self._write()
        _say(entry)

    def tests_passed(self) -> bool:
        """Whether every file of tests ran to its end without a failure."""
        return all(
            'result' in entry and not entry['result'].get('failed')
            for entry in self.content['parts']
            if entry['part'].startswith('tests')
        )

    def _write(self) -> None:
        _replace(self.folder / JSON, json.dumps(self.content, indent=1) + '\n')
        _replace(self.folder / TABLES, render_check(self.content))


def plan_tests(args: argparse.Namespace) -> list[Part]:
    """Return the files of tests, one a part."""
    if not _asked(args.parts, 'tests'):
        return []
    files = args.tests or test_files()
    return [Part(f'tests: {file}', partial(run_tests, file=file)) for file in files]


def plan_measures(args: argparse.Namespace, device: str) -> list[Part]:
    """Return the measurements, in order of value: asked for first, measured first."""
    parts = []
    for precision in args.precisions:
        for images in args.batches:
            size = dict(images=images, height=args.size[0], width=args.size[1])
            rounds = args.rounds or max(FEWEST_ROUNDS, MOST_ROUNDS // images)
            for name in OPERATORS:
                once = precision == args.precisions[0]
                if name in OF_MAPS or once:
                    kept = precision if name in OF_MAPS else 'float32'
                    work = partial(Workload, **size, precision=kept)
                    job = partial(
                        measure_operator,
                        work=work,
                        name=name,
                        rounds=args.rounds or FEWEST_ROUNDS,
                    )
                    parts.append(Part(f'{name}, batch {images}, {kept}', job))
            work = partial(Workload, **size, precision=precision)
            for name in ('train', 'infer'):
                job = partial(
                    measure_steps,
                    work=work,
                    training=name == 'train',
                    peers=args.peers,
                    rounds=rounds,
                )
                parts.append(Part(f'{name}, batch {images}, {precision}', job))
            if device == 'cpu' or images > LARGEST_RECORDED:
                continue
            for name in ('train', 'infer'):
                job = partial(
                    measure_recorded, work=work, training=name == 'train', rounds=rounds
                )
                title = f'recorded, {name}, batch {images}, {precision}'
                parts.append(Part(title, job))
    return [part for part in parts if _asked(args.parts, part.name)]


def measure_operator(
    device: str, *, work: partial[Workload], name: str, rounds: int
) -> dict[str, Any]:
    """Time one operator: :func:`compare_operator`."""
    return compare_operator(
        name, work(device=device), rounds=rounds, warmup=1, progress=print
    )


def measure_steps(
    device: str,
    *,
    work: partial[Workload],
    training: bool,
    peers: list[str] | None,
    rounds: int,
) -> dict[str, Any]:
    """Time whole steps, and look at what they ask: :func:`compare_steps`."""
    kinds, missing = choose_contenders(peers)
    for name, reason in missing:
        print(f'{name} is left out: {reason}')
    return _compare(kinds, work(device=device), training, rounds)


def measure_recorded(
    device: str, *, work: partial[Workload], training: bool, rounds: int
) -> dict[str, Any]:
    """Time our steps, launched kernel by kernel and as CUDA graphs."""
    return _compare([Ours, Recorded], work(device=device), training, rounds)


def _compare(
    kinds: list[type[Contender]], work: Workload, training: bool, rounds: int
) -> dict[str, Any]:
    return compare_steps(
        kinds,
        work,
        training,
        rounds=rounds,
        warmup=1,
        progress=print,
        observe=True,
    )


def _asked(kinds: Sequence[str], name: str) -> bool:
    return not kinds or name.partition(',')[0] in kinds


def _is_own(folder: Path) -> bool:
    file = folder / JSON
    return file.is_file() and file.read_bytes().startswith(MARK)


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all, whenever this process is ended."""
    fresh = path.with_name(f'{path.name}.new')
    fresh.write_text(text, 'utf-8')
    os.replace(fresh, path)


def _say(entry: dict[str, Any]) -> None:
    if 'left_out' in entry:
        outcome = f'left out, {entry["left_out"]}'
    elif 'failed' in entry:
        outcome = f'failed: {entry["failed"]}'
    else:
        outcome = f'{entry["seconds"]} s'
    print(f'{entry["part"]}: {outcome}', file=sys.stderr, flush=True)
