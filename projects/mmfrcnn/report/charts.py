"""Diagrams of the page, as SVG that needs nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmfrcnn.evaluation.ledger.mistakes import NAMES

SIZE = (5.0, 3.2)  # inches, so that letters are as large as those of the page
FEW_CURVES = 6
"""Classes whose curves are told apart."""


def operating_points(figures: dict[str, Any]) -> dict[str, str]:
    """Draw precision over recall of the classes, and F1 over the score.

    Returns:
        dict: The address of each picture by its title; none without curves.
    """
    curves = [one for one in figures['curves']['classes'] if one['threshold']]
    everything = figures['curves']['all']
    if not everything['threshold']:
        return {}
    charts = {}
    for title, x, y in (
        ('Precision over recall', 'recall', 'precision'),
        ('F1 over score', 'threshold', 'F1'),
    ):
        figure, axes = _new(x.replace('threshold', 'score'), y)
        for curve in curves[:FEW_CURVES]:
            axes.plot(curve[x], curve[y], linewidth=1.2, label=curve['name'])
        axes.plot(everything[x], everything[y], color='black', linewidth=2, label='all')
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(fontsize='small')
        charts[title] = _address(figure)
    return charts


def calibration(figures: dict[str, Any]) -> str:
    """Draw the share of right detections over their score."""
    bins = [one for one in figures['calibration']['bins'] if one['detections']]
    figure, axes = _new('score', 'share that is right')
    axes.plot([0, 1], [0, 1], color='grey', linestyle=':', label='as it should be')
    scores, shares = ([one[k] for one in bins] for k in ('score', 'precision'))
    axes.plot(scores, shares, marker='o', label='detections')
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(fontsize='small')
    return _address(figure)


def scores(figures: dict[str, Any]) -> str:
    """Draw how many detections of each kind have which score."""
    edges, counts = figures['scores']['edges'], figures['scores']['detections']
    shown = [name for name in NAMES if sum(counts[name])]
    figure, axes = _new('score', 'detections')
    below = np.zeros(len(edges) - 1)
    for name in shown:
        axes.bar(edges[:-1], counts[name], edges[1], below, align='edge', label=name)
        below += counts[name]
    axes.set(xlim=(0, 1), yscale='symlog' if below.max(initial=0) > 100 else 'linear')
    axes.legend(fontsize='small')
    return _address(figure)


def object_sides(histogram: Mapping[str, Any]) -> str:
    """Draw how large the objects are in the network's input.

    Args:
        histogram (Mapping): Of :func:`~mmfrcnn.report.sizes.side_histogram`.
    """
    figure, axes = _new('side of an object in the input, px', 'share of the objects')
    if histogram:
        for name, shares in histogram['shares'].items():
            axes.stairs(shares, histogram['edges'], label=name)
        axes.set_xscale('log', base=2)
        axes.xaxis.set_major_formatter('{x:g}')
        axes.legend(fontsize='small')
    return _address(figure)


def curves(title: str, lines: Mapping[str, tuple[Sequence, Sequence]]) -> str:
    """Draw values over iterations, by name; ``loss`` is bold."""
    figure, axes = _new('iteration', title)
    for name, (iterations, values) in lines.items():
        width = 2.2 if name == 'loss' else 1.2
        marker = '.' if len(iterations) < 50 else ''
        axes.plot(iterations, values, marker=marker, linewidth=width, label=name)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize='small')
    return _address(figure)


def confusion(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """Draw a confusion matrix of many classes, each row in shares of its sum.

    Args:
        matrix (Sequence): Objects by detections, (C + 1, C + 1), the background last.
        names (Sequence[str]): Of the classes, (C,).
    """
    counts = np.array(matrix, float)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = 2 + 0.13 * len(shares)
    figure = Figure(figsize=(side, side), layout='constrained')
    axes = figure.subplots()
    axes.imshow(shares, cmap='Blues', vmin=0, vmax=1)
    labels = [*names, 'background']
    places = range(len(labels))
    axes.set_xticks(places, labels, rotation=90, fontsize=7)
    axes.set_yticks(places, labels, fontsize=7)
    axes.set(xlabel='called', ylabel='object')
    return _address(figure)


def _new(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, layout='constrained')
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    return figure, axes


def _address(figure: Figure) -> str:
    """Return a figure as a ``data:`` address of an SVG."""
    stream = io.BytesIO()
    with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': ''}):
        figure.savefig(stream, format='svg', metadata={'Date': None})
    return f'data:image/svg+xml;base64,{base64.b64encode(stream.getvalue()).decode()}'
