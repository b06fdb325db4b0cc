"""What a training step costs as one thing grows: time and memory, point by point.

Each point is a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from mmfrcnn.errors import UserError
from mmfrcnn_benchmark.compare import Progress
from mmfrcnn_benchmark.timing import summarise

# What grows, and the option of tools/benchmark.py that sets it.
AXES = {
    'gts': ('--objects', (1, 10, 100, 1000, 10_000)),
    'batch': ('--batch-size', (1, 2, 4, 8)),
    'size': ('--size', (256, 384, 512, 768, 1024)),
    'classes': ('--classes', (20, 80, 365, 1203)),
}
LABELS = {
    'gts': 'ground truths an image',
    'batch': 'images a batch',
    'size': 'pixels an image (side of the square)',
    'classes': 'classes',
}


def measure_scale(axis: str, options: list[str], progress: Progress) -> dict[str, Any]:
    """Measure our training step at each point of an axis.

    Args:
        axis (str): A key of ``AXES``.
        options (list[str]): Further options of tools/benchmark.py, for all points.
        progress (Callable): Told the progress.

    Returns:
        dict: ``points``: value, seconds of each round and peak memory in GiB.
    """
    option, values = AXES[axis]
    points, machine = [], {}
    for value in values:
        progress(f'{LABELS[axis]}: {value}')
        given = [str(value)] * (2 if axis == 'size' else 1)
        result = _run([*options, option, *given])
        machine = result['machine']
        seconds = result['seconds']['mmfrcnn']
        points.append(
            dict(value=value, seconds=seconds, memory=result['peak_memory_gib'])
        )
    return dict(
        benchmark='scale',
        axis=axis,
        points=points,
        workload=result['workload'],
        machine=machine,
    )


def _run(options: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / 'point.json'
        command = [sys.executable, sys.argv[0], '--train', '--peers', '--json']
        done = subprocess.run(
            [*command, str(out), *options], capture_output=True, text=True
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ['it was killed'])[-1]
            raise UserError(f'--scale: the run with {" ".join(options)} failed: {last}')
        return json.loads(out.read_text())[0]


def growth(points: list[dict[str, Any]], axis: str) -> float:
    """Return the factor of time over that of the amount, first point to last.

    At most 1 is linear or better. An image's amount is its area.
    """
    first, last = points[0], points[-1]
    times = [summarise(one['seconds']).median for one in (first, last)]
    amount = (last['value'] / first['value']) ** (2 if axis == 'size' else 1)
    return times[1] / times[0] / amount


def draw(results: list[dict[str, Any]], path: str) -> None:
    """Draw time and memory against each axis, in logarithmic scales.

    Raises:
        UserError: If matplotlib is missing or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError(
            '--plot draws with matplotlib: pip install matplotlib'
        ) from error
    figure = Figure((4.2 * len(results), 6), layout='constrained')
    axes = figure.subplots(2, len(results), squeeze=False, sharex='col')
    for (above, below), one in zip(axes.T, results, strict=True):
        values = [point['value'] for point in one['points']]
        times = [summarise(point['seconds']).median for point in one['points']]
        above.loglog(values, times, 'o-', label='measured')
        power = 2 if one['axis'] == 'size' else 1
        linear = [times[0] * (value / values[0]) ** power for value in values]
        above.loglog(values, linear, ':', color='gray', label='linear')
        ticks = [n * 10.0**e for e in range(-4, 4) for n in (1, 2, 5)]
        above.set_yticks(ticks, [f'{tick:g}' for tick in ticks])
        above.set_ylim(min(times) / 2, max(times) * 2)
        above.tick_params(axis='y', which='minor', labelleft=False)
        memory = [point['memory'] for point in one['points']]
        below.semilogx(values, memory, 's-', color='tab:red')
        below.set_ylim(0, max(memory) * 1.2)
        below.set_xlabel(LABELS[one['axis']])
        below.set_xticks(values, [f'{value:,}' for value in values])
        below.minorticks_off()
        above.legend(frameon=False)
    axes[0][0].set_ylabel('training step, s')
    axes[1][0].set_ylabel('peak memory, GiB')
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise UserError(f'--plot {path}: {error}') from error
