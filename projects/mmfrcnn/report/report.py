"""A report before it is written: the page and the record show the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mmfrcnn.evaluation.label_errors import LabelError
from mmfrcnn.report.advice import Advice
from mmfrcnn.report.facts import Facts
from mmfrcnn.report.pictures import Shown, worst_images


@dataclass(frozen=True)
class Origin:
    """Where a report comes from.

    Attributes:
        title (str): Name of the run.
        source (str): Of which checkpoint and images, in words.
        command (str): That repeats it.
        config (str): Text of the config.
        environment (Mapping[str, str]): Versions and machine.
        curves (Mapping): Losses and metrics over iterations, by title and name.
        labels_file (str): Name of the file of all label errors.
        sentences (Sequence[str]): What else is to be said in the summary.
    """

    title: str
    source: str
    command: str
    config: str
    environment: Mapping[str, str]
    curves: Mapping[str, Mapping[str, tuple[Sequence, Sequence]]]
    labels_file: str
    sentences: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Report:
    """All that is said of a run.

    Attributes:
        facts (Facts): What is known of it.
        figures (dict): Of :func:`~mmfrcnn.evaluation.figures.figures_of`.
        advice (Sequence[Advice]): Best first.
        errors (Sequence[LabelError]): Likely label errors, surest first.
        origin (Origin): Where it comes from.
        comparison (dict | None): With another run.
    """

    facts: Facts
    figures: dict[str, Any]
    advice: Sequence[Advice]
    errors: Sequence[LabelError]
    origin: Origin
    comparison: dict[str, Any] | None = None

    @property
    def threshold(self) -> float:
        """Score of the best F1 of all classes, 0 without detections."""
        return self.figures['curves']['all']['best']['threshold'] or 0.0

    @cached_property
    def worst(self) -> list[Shown]:
        """The images of most mistakes, drawn once."""
        return worst_images(self.facts.held_out, self.threshold)
