"""What ``tools/gpu_check.py`` found, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mmfrcnn_benchmark.tables import Result, table
from mmfrcnn_benchmark.timing import paired_ratio, summarise

OURS = 'mmfrcnn'


def render_check(report: dict[str, Any]) -> str:
    """Return the whole document.

    Args:
        report (dict): ``machine``, ``minutes``, ``parts``: each with its name, and its
            ``result``, or why it ``failed`` or was ``left_out``.
    """
    results = [part['result'] for part in report['parts'] if 'result' in part]
    steps = [one for one in results if one['benchmark'] in ('train', 'infer')]
    operators = [one for one in results if one['benchmark'] == 'operator']
    tests = [one for one in results if one['benchmark'] == 'tests']
    blocks = ['# GPU check', _listed(f'{k}: {v}' for k, v in report['machine'].items())]
    if tests:
        failed = (f'{one["file"]}, {line}' for one in tests for line in one['failed'])
        blocks += ['## Tests', test_table(tests), _listed(failed)]
    if steps:
        blocks += ['## Steps', _settings(steps[0]), steps_table(steps)]
        blocks += ['### What a step asks of the GPU', asks_table(steps)]
    if operators:
        blocks += ['## Operators alone', _settings(operators[0])]
        blocks += [operator_table(operators), _listed(_failures(operators))]
    # Tests provoke warnings.
    warned = [line for one in steps + operators for line in one.get('warned', ())]
    if warned:
        blocks += ['## Warnings', _listed(dict.fromkeys(warned))]
    for key, name in (('failed', 'Failed'), ('left_out', 'Left out')):
        said = [f'{one["part"]}: {one[key]}' for one in report['parts'] if key in one]
        blocks += [f'## {name}', _listed(said)] if said else []
    return '\n\n'.join(filter(None, blocks)) + '\n'


def test_table(results: Sequence[Result]) -> str:
    """Return how many tests of each file passed, failed and were skipped."""
    rows = [
        (one['file'], one['passed'], len(one['failed']), one['skipped'])
        for one in results
    ]
    sums = ('**all**', *(sum(column) for column in list(zip(*rows, strict=True))[1:]))
    head = ('file', 'passed', 'failed', 'skipped')
    return table(head, [tuple(map(str, row)) for row in [*rows, sums]])


def steps_table(results: Sequence[Result]) -> str:
    """Return images a second of each, and the paired ratio to the best peer."""
    names = _all(one['seconds'] for one in results)
    rows = []
    for one in results:
        times = {n: summarise(values).median for n, values in one['seconds'].items()}
        peers = {n: time for n, time in times.items() if n != OURS}
        ratio = '-'
        if peers:
            best = min(peers, key=peers.__getitem__)
            ratio = _ranged(one['seconds'][best], one['seconds'][OURS])
        images = one['workload']['images']
        rates = (_rounded(images / times[n]) if n in times else '-' for n in names)
        rows.append((*_what(one), ratio, *rates))
    head = ('step', 'batch', 'precision', 'best peer over ours')
    return table((*head, *(f'{name}, images/s' for name in names)), rows)


def asks_table(results: Sequence[Result]) -> str:
    """Return memory, waits, launches and the busy share, detector by detector."""
    names = _all(one['observed'] for one in results)
    forms = {
        'peak_gib': '{:.2f}',
        'waits': '{}',
        'launches': '{:,.0f}',
        'busy': '{:.0%}',
    }
    rows = []
    for one in results:
        asked = one['observed']
        cells = (
            ' / '.join(_cell(form, asked.get(n, {}).get(key)) for n in names)
            for key, form in forms.items()
        )
        rows.append((*_what(one), *cells))
    head = ('peak GiB', 'waits', 'launches', 'GPU busy')
    of = f'step ({" / ".join(names)})'
    return table((of, 'batch', 'precision', *head), rows)


def operator_table(results: Sequence[Result]) -> str:
    """Return milliseconds of each implementation, ours first."""
    rows = []
    for one in results:
        seconds, peer = one['seconds'], one['peer']
        ours = [name for name in seconds if name != peer]
        # A kernel is what users get; plain torch where there is none.
        ratio = '-'
        if ours and peer in seconds:
            ratio = _ranged(seconds[peer], seconds[ours[0]])
        times = (
            f'{name} {_rounded(1000 * summarise(values).median)}'
            for name, values in seconds.items()
        )
        memory = (_cell('{:.3f}', value) for value in one['peak_gib'].values())
        differs = _cell('{:.1e}', one['differing'])
        rows.append(
            (
                one['operator'],
                str(one['workload']['images']),
                one['workload']['precision'],
                ratio,
                ', '.join(times),
                ' / '.join(memory),
                differs,
            )
        )
    head = (
        'operator',
        'batch',
        'precision',
        'peer over ours',
        'ms',
        'GiB beside input',
    )
    return table((*head, 'kernel differs'), rows)


def _settings(result: Result) -> str:
    work = result['workload']
    return (
        f'{work["height"]}x{work["width"]}, {work["objects"]} objects an image, '
        f'{work["classes"]} classes; medians, ratios paired round by round.'
    )


def _listed(lines: Iterable[str]) -> str:
    return '\n'.join(f'- {line}' for line in lines)


def _failures(results: Sequence[Result]) -> list[str]:
    return [
        f'{one["operator"]}, batch {one["workload"]["images"]}, {label}: {reason}'
        for one in results
        for label, reason in one['failed'].items()
    ]


def _what(result: Result) -> tuple[str, str, str]:
    work = result['workload']
    return result['benchmark'], str(work['images']), work['precision']


def _all(mappings: Iterable[dict[str, Any]]) -> list[str]:
    """Return the keys of all, in order, once."""
    return list(dict.fromkeys(key for mapping in mappings for key in mapping))


def _ranged(values: Sequence[float], base: Sequence[float]) -> str:
    ratio = paired_ratio(values, base)
    return f'{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})'


def _rounded(value: float) -> str:
    return f'{value:.3g}' if value < 100 else f'{value:,.0f}'


def _cell(form: str, value: float | None) -> str:
    return '-' if value is None else form.format(value)
