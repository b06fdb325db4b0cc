"""Keeps the ledger of a test run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample
from mmengine.dist import collect_results, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor

from mmfrcnn.errors import UserError
from mmfrcnn.evaluation.ledger.columns import Columns
from mmfrcnn.evaluation.ledger.fates import Rules
from mmfrcnn.evaluation.ledger.ledger import account_of, summarise
from mmfrcnn.evaluation.ledger.page import Page
from mmfrcnn.evaluation.ledger.table import table
from mmfrcnn.evaluation.ledger.trace import ImageTrace, Tracer
from mmfrcnn.evaluation.ledger.truth import truths_of


@HOOKS.register_module()
class LedgerHook(Hook):
    """Accounts for every object and every detection of a test run.

    At its end a table is logged. Beside the run's log, the sums are in ``ledger.json``
    and each object and detection in ``ledger.npz``, as
    :class:`~mmfrcnn.evaluation.ledger.columns.Columns`. Of a detector without two
    stages, of data without objects, and of images that share an id, there is none; nor
    where a part of somebody's own works otherwise than it must. That is a warning: no
    test ends for its ledger's sake.

    Args:
        iou (float): From which on an object is found.
        name (str): Of its two files.

    Attributes:
        summary (dict | None): The sums, in the main process after a test.
        columns (Columns | None): The rows, likewise.
    """

    priority = 'VERY_LOW'  # when the model to test is in its place

    def __init__(self, iou: float = 0.5, name: str = 'ledger') -> None:
        self.iou = iou
        self.name = name
        self.summary: dict[str, Any] | None = None
        self.columns: Columns | None = None
        self._tracer: Tracer | None = None
        self._pages: list[Page] | None = None  # None: there is no ledger

    def before_test_epoch(self, runner: Runner) -> None:
        """Watch the model."""
        self._pages = self.summary = self.columns = None
        model: Any = runner.model
        model = model.module if is_model_wrapper(model) else model
        if not Tracer.fits(model):
            return
        try:
            self._truths = truths_of(runner.test_dataloader.dataset)
        except UserError as error:
            runner.logger.warning(f'No ledger: {error}')
            return
        if not any(len(truth.labels) for truth in self._truths.values()):
            return
        self._tracer = Tracer(model, self._objects_of)
        self._rules = Rules.of(model, self.iou)
        self._pages = []

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Account for a batch."""
        if self._tracer is None:
            return
        try:
            self._account(self._tracer.images(), outputs or ())
        except Exception as error:
            runner.logger.warning(f'No ledger: {type(error).__name__}: {error}')
            self._tracer.close()
            self._tracer, self._pages = None, []

    def _objects_of(self, sample: DetDataSample) -> Tensor:
        """Return the objects that count, xyxy in input pixels, float32, (G, 4)."""
        truth = self._truths[sample.img_id]
        return truth.in_input(sample.scale_factor)[~truth.ignored]

    def _account(self, traces: list[ImageTrace], outputs: Sequence[Any]) -> None:
        assert self._pages is not None
        for trace, output in zip(traces, outputs, strict=True):
            sample = output.metainfo | {'pred_instances': output.pred_instances}
            truth = self._truths[sample['img_id']]
            self._pages.append(account_of(trace, truth, sample, self._rules))

    def after_test_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Sum up."""
        if self._pages is None:
            return
        if self._tracer is not None:
            self._tracer.close()
        self._tracer = None
        # All processes take part, also one that has given up.
        pages = collect_results(self._pages, len(self._truths), 'cpu')
        if not is_main_process() or pages is None:
            return
        # Processes may have shared an image, so that each has as many.
        pages = list({page.image_id: page for page in pages}.values())
        if len(pages) < len(self._truths):
            return
        dataset: Any = runner.test_dataloader.dataset
        names = dataset.metainfo['classes']
        self.summary = summarise(pages, names, self.iou)
        self.columns = Columns.of(pages, names)
        path = Path(runner.log_dir) / f'{self.name}.json'
        path.write_text(json.dumps(self.summary, indent=1))
        self.columns.write(path.with_suffix('.npz'))
        runner.logger.info(f'{table(self.summary)}\nLedger: {path}')
