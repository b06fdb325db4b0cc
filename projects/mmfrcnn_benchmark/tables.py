"""Measurements as Markdown tables, ratios first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmfrcnn.training.stages import BEFORE_THE_HEADS, MATCHING, STAGES
from mmfrcnn_benchmark.kernels import CARDS, REGISTERS_A_THREAD
from mmfrcnn_benchmark.scale import LABELS, growth
from mmfrcnn_benchmark.timing import Summary, paired_ratio, summarise

Result = dict[str, Any]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a Markdown table, columns aligned."""
    cells = [list(head), *map(list, rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = [
        '| ' + ' | '.join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + ' |'
        for row in cells
    ]
    lines.insert(1, '|' + '|'.join('-' * (width + 2) for width in widths) + '|')
    return '\n'.join(lines)


def title(result: Result) -> str:
    """Say in a line what was measured."""
    if result['benchmark'] == 'roofline':
        return 'R50-FPN, 800x1344, bfloat16: computed, not measured'
    if result['benchmark'] == 'loader':
        return f'{result["config"]}, batches of {result["batch"]}, nothing but loading'
    if result['benchmark'] == 'kernels':
        return 'Triton kernels, compiled ahead of time and not run'
    work = result['workload']
    text = (
        f'{work["images"]} x {work["height"]}x{work["width"]}, {work["objects"]} '
        f'objects an image, {work["classes"]} classes, {work["precision"]}, '
        f'{work["device"]}'
    )
    threads = result['machine']['threads']
    return text if work['device'] != 'cpu' else f'{text}, {threads} threads'


def step_table(result: Result) -> str:
    """Return the table of :func:`~mmfrcnn_benchmark.compare.compare_steps`."""
    seconds = result['seconds']
    ours = next(iter(seconds))
    images = result['workload']['images']
    rows = []
    for name, values in seconds.items():
        ratio = '1'
        if name != ours:
            ratio = _with_range(paired_ratio(values, seconds[ours]), '{:.2f}')
        time = summarise(values)
        about = result['contenders'][name]
        rows.append(
            (
                f'{name} {about["version"]}',
                ratio,
                _with_range(time, '{:.3f}'),
                f'{images / time.median:.3g}',
                about['settings'],
            )
        )
    head = ('detector', f'time over {ours}', 'seconds', 'images/s', 'settings')
    return table(head, rows)


def stage_table(result: Result) -> str:
    """Return the table of :func:`~mmfrcnn_benchmark.compare.compare_stages`."""
    stages = result['stages']
    names = list(stages)
    rows = []
    for stage in STAGES:
        times = {n: [one.get(stage, 0.0) for one in stages[n]] for n in names}
        if any(map(any, times.values())):
            rows.append(_stage_row(stage, times))
    matching = {n: [_sum(one, MATCHING) for one in stages[n]] for n in names}
    if result['training']:
        rows.append(_stage_row('**assignment and sampling**', matching))
    own = [stage for stage in STAGES if stage not in BEFORE_THE_HEADS]
    whole = own if result['benchmark'] == 'heads' else STAGES
    label = '**heads**' if result['benchmark'] == 'heads' else '**step**'
    totals = {n: [_sum(one, whole) for one in stages[n]] for n in names}
    rows.append(_stage_row(label, totals))
    return table(('stage', 'best peer over ours', *(f'{n}, ms' for n in names)), rows)


def pooling_table(result: Result) -> str:
    """Return the table of :func:`~mmfrcnn_benchmark.pooling.compare_pooling`."""
    rows = []
    for way in ('forward', 'both'):
        theirs = result['seconds'][f'torchvision, {way}']
        ours = result['seconds'][f'mmfrcnn, {way}']
        name = 'forward' if way == 'forward' else 'forward and backward'
        rows.append(_stage_row(name, dict(ours=ours, theirs=theirs)))
    head = ('RoIAlign', 'torchvision over ours', 'mmfrcnn, ms', 'torchvision, ms')
    return table(head, rows)


def count_table(result: Result) -> str:
    """Return the table of :func:`~mmfrcnn_benchmark.counts.compare_counts`."""
    counts = result['counts']
    columns = list(next(iter(counts.values())))
    rows = [
        (name, *(f'{c[key]["waits"]} / {c[key]["operators"]:,}' for key in columns))
        for name, c in counts.items()
    ]
    head = (
        'host waits / operators',
        *(key.replace(' ', ', batch ') for key in columns),
    )
    return table(head, rows)


def scale_table(result: Result) -> str:
    """Return the table of :func:`~mmfrcnn_benchmark.scale.measure_scale`."""
    rows = [
        (
            f'{point["value"]:,}',
            _with_range(summarise(point['seconds']), '{:.3f}'),
            f'{point["memory"]:.2f}',
        )
        for point in result['points']
    ]
    text = table((LABELS[result['axis']], 'seconds a step', 'peak GiB'), rows)
    factor = growth(result['points'], result['axis'])
    return f'{text}\n\nTime grew by {factor:.2g} of the growth of the amount.'


def loader_table(result: Result) -> str:
    """Return the table of :func:`~mmfrcnn_benchmark.loader.measure_loader`."""
    rows = []
    for point in result['points']:
        workers = point['workers']
        mark = ' (the config)' if workers == result['configured'] else ''
        rows.append(
            (
                f'{workers}{mark}',
                f'{point["rate"]:.1f}',
                f'{point["rate"] / max(workers, 1):.1f}',
                f'{point["memory"]:.2f}' if workers else '-',
            )
        )
    return table(('workers', 'images/s', 'each', 'own memory of each, GiB'), rows)


def kernel_table(result: Result) -> str:
    """Return the table of :func:`~mmfrcnn_benchmark.kernels.compile_kernels`."""
    cells: dict[str, list[str]] = {}
    for row in result['kernels']:
        name = f'{row["kernel"]}, {row["threads"]} threads'
        cells.setdefault(name, []).append(
            f'{row["registers"]} / {row["spilled"]} / {row["shared"] / 1024:.1f}'
        )
    limits = [f'{REGISTERS_A_THREAD} / 0 / {card.shared >> 10}' for card in CARDS]
    rows = [(name, *values) for name, values in cells.items()]
    head = (
        'registers / bytes spilled / KiB shared',
        *(f'sm_{card.capability} ({card.example})' for card in CARDS),
    )
    return table(head, [*rows, ('at most', *limits)])


def roofline_table(result: Result) -> str:
    """Return the tables of :func:`~mmfrcnn_benchmark.roofline.compute_roofline`."""
    steps = {(one['mode'], one['images']): one for one in result['steps']}
    batches = list(dict.fromkeys(images for _, images in steps))
    counts = [
        (str(n), *(_tera(steps[mode, n]) for mode in ('train', 'infer')))
        for n in batches
    ]
    cards = list(result['steps'][0]['bounds'])
    bounds = []
    for card in cards:
        for n in batches:
            cells: list[str] = []
            for mode in ('train', 'infer'):
                least = steps[mode, n]['bounds'][card]
                cells.append(' / '.join(f'{1000 * v:.3g}' for v in least.values()))
                cells.append(f'{n / least["layers"]:,.0f}')
            bounds.append((card, str(n), *cells))
    ms = 'ms by arithmetic / bytes / layer'
    head = ('card', 'batch', f'train: {ms}', 'images/s', f'infer: {ms}', 'images/s')
    return '\n\n'.join(
        (
            table(('batch', 'train: TFLOP / GB', 'infer: TFLOP / GB'), counts),
            table(head, bounds),
            _operator_bounds(result['operators'], cards),
        )
    )


def _tera(step: dict[str, Any]) -> str:
    return f'{step["flops"] / 1e12:.2f} / {step["bytes"] / 1e9:.1f}'


def _operator_bounds(operators: list[dict[str, Any]], cards: Sequence[str]) -> str:
    rows = []
    for one in operators:
        once = f'{one["bytes_once"] / 1e6:.1f} + ' if one['bytes_once'] else ''
        launches = (
            ', '.join('-' if n is None else f'{n:,}' for n in dict.fromkeys(counts))
            for counts in one['launches'].values()
        )
        rows.append(
            (
                one['operator'],
                f'{one["count"]:,} N {one["counted"]}',
                f'{once}{one["bytes"] / 1e6:.2f} N',
                ' / '.join(launches),
                *(f'{1e6 * one["bounds"][card]:.0f}' for card in cards),
            )
        )
    labels = ' / '.join(operators[0]['launches'])
    head = ('operator, N images', 'work', 'MB', f'launches: {labels}')
    return table((*head, *(f'{card}, us' for card in cards)), rows)


def _stage_row(stage: str, times: dict[str, list[float]]) -> tuple[str, ...]:
    ours, *peers = times
    ratio = '-'
    if peers and min(times[ours]) > 1e-5:
        best = min(peers, key=lambda name: summarise(times[name]).median)
        if min(times[best]) > 1e-5:
            ratio = _with_range(paired_ratio(times[best], times[ours]), '{:.2f}')
    medians = (f'{1000 * summarise(values).median:.1f}' for values in times.values())
    return (stage, ratio, *medians)


def _sum(one: dict[str, float], stages: Sequence[str]) -> float:
    return sum(one.get(stage, 0.0) for stage in stages)


def _with_range(summary: Summary, form: str) -> str:
    text = form.format(summary.median)
    if summary.count == 1:
        return text
    return f'{text} ({form.format(summary.low)} to {form.format(summary.high)})'


TABLES = {
    'infer': step_table,
    'train': step_table,
    'stages': stage_table,
    'heads': stage_table,
    'pooling': pooling_table,
    'counts': count_table,
    'scale': scale_table,
    'loader': loader_table,
    'kernels': kernel_table,
    'roofline': roofline_table,
}


def render(result: Result) -> str:
    """Return title and table of any result."""
    kind = result['benchmark']
    lines = [f'{kind}: {title(result)}', '', TABLES[kind](result)]
    return '\n'.join(lines)
