"""results.csv: one row at each validation, of the whole run, however often resumed."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmfrcnn.files import write_whole

RESULTS = 'results.csv'
Row: TypeAlias = dict[str, str]
FIRST = ('epoch', 'iteration')
COUNT = re.compile('[0-9]{1,18}')
AVERAGED = 'averaged_in_results'
"""What a checkpoint says of how much of each log the last row has averaged."""


@HOOKS.register_module()
class ResultsHook(Hook):
    """Writes ``WORK_DIR/results.csv``: rates, losses and metrics at each validation.

    Columns are the epoch (passes over the data, perhaps not whole), the iteration, the
    learning rate, each training loss and what else the heads give to the log, averaged
    over the iterations since the row before as far as the log has them, and each
    metric. A resumed run goes on below the
    rows up to its checkpoint. A file that no such run wrote is renamed.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._found: dict[str, int] = {}
        self._seen: dict[str, int] = {}

    def before_train(self, runner: Runner) -> None:
        """Take over the rows of a run that is resumed."""
        hub = runner.message_hub
        scalars = hub.log_scalars.items()
        self._found = {name: len(buffer.data[0]) for name, buffer in scalars}
        if runner.iter:
            self._seen = dict(hub.runtime_info.get(AVERAGED, {}))
        hub.update_info(AVERAGED, self._seen)
        if not is_main_process():
            return
        path = Path(runner.work_dir) / RESULTS
        rows = read_results(path) if runner.iter else []
        self.rows = [row for row in rows if int(row['iteration']) <= runner.iter]
        if path.exists() and not rows:
            aside = path.with_stem(f'{path.stem}_before_{runner.timestamp}')
            path.rename(aside)
            runner.logger.warning(
                f'{path} is not of the run that begins here: it is now {aside}'
            )

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Learn the names of what is averaged."""
        for name in (f'train/{name}' for name in outputs or ()):
            self._seen.setdefault(name, self._found.get(name, 0))

    def after_val_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Add a row."""
        epoch = runner.iter / max(len(runner.train_dataloader), 1)
        values: dict[str, Any] = {'epoch': round(epoch, 3), 'iteration': runner.iter}
        if 'train/lr' in runner.message_hub.log_scalars:
            values['lr'] = runner.message_hub.get_scalar('train/lr').current()
        scalars = runner.message_hub.log_scalars
        for name in (name for name in self._seen if name in scalars):
            length = len(scalars[name].data[0])
            new = length - self._seen[name]
            self._seen[name] = length
            # Fewer than before: alternating training has begun a step, and they anew.
            if new:
                mean = scalars[name].mean(new if new > 0 else None)
                values[name.removeprefix('train/')] = mean
        found = {k: v for k, v in (metrics or {}).items() if is_number(v)}
        values |= dict(sorted(found.items(), key=lambda item: of_a_class(item[0])))
        if not is_main_process():
            return
        earlier = [row for row in self.rows if int(row['iteration']) < runner.iter]
        self.rows = [*earlier, {key: as_cell(value) for key, value in values.items()}]
        with tried(runner, RESULTS):
            write_results(Path(runner.work_dir) / RESULTS, self.rows)


def read_results(path: Path | str) -> list[Row]:
    """Return the rows of a ``results.csv``; none, if it isn't one."""
    if not Path(path).is_file():  # a pipe would be waited for
        return []
    try:
        with open(path, newline='', encoding='utf-8') as stream:
            reader = csv.DictReader(stream)
            rows = [dict(row) for row in reader]
            known = tuple(reader.fieldnames or ())[:2] == FIRST
    except (OSError, UnicodeDecodeError, csv.Error):
        return []
    whole = known and all(map(_is_whole, rows))
    return rows if whole else []


def _is_whole(row: Row) -> bool:
    """Whether a row has no more cells than the first line, and an iteration."""
    return None not in row and COUNT.fullmatch(row['iteration'] or '') is not None


def write_results(path: Path, rows: Sequence[Row]) -> None:
    """Write rows, whose keys may differ; whoever reads meanwhile reads whole ones."""
    columns = dict.fromkeys(key for row in rows for key in row)
    table = io.StringIO()
    writer = csv.DictWriter(table, list(columns), restval='')
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, table.getvalue())


def best_row(rows: Sequence[Row], metric: str) -> Row | None:
    """Return the row with the highest value of a metric, the last of equal ones.

    A metric with 'loss' in its name is best where it is lowest.
    """
    sign = -1 if 'loss' in metric else 1
    known = [row for row in rows if math.isfinite(number(row.get(metric)))]
    return max(
        reversed(known), key=lambda row: sign * number(row[metric]), default=None
    )


def as_cell(value: float) -> str:
    """Write a number as the file has it."""
    return f'{value:.8g}'


def number(text: str | None) -> float:
    """Return the number that a cell holds, NaN if it holds none."""
    try:
        return float(text or 'nan')
    except ValueError:
        return math.nan


def of_a_class(metric: str) -> bool:
    """Whether ``CocoMetric`` gives a metric for one class."""
    return metric.endswith('_precision')


def is_number(value: Any) -> bool:
    """Whether a metric can be compared."""
    return isinstance(value, int | float)


@contextmanager
def tried(runner: Runner, what: str) -> Iterator[None]:
    """Warn if a record cannot be made: no training ends for its sake."""
    try:
        yield
    except Exception as error:
        runner.logger.warning(f'{what} was not made: {type(error).__name__}: {error}')
