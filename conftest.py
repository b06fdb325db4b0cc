"""What all tests share: few threads, and the package on the path of subprocesses."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent
SLOW = (
    *('tests/end_to_end', 'tests/zoo', 'tests/benchmark', 'tests/packaging'),
    *('tests/training', 'projects/context_roi', 'tests/cli', 'tests/compat'),
    *('tests/data', 'tests/deploy', 'tests/ops', 'tests/parity', 'tests/modeling'),
)

# Files, and a folder of them, that read what others have drawn and laid out plainly.
LOOK_AT_OUTPUTS = {
    *('test_records', 'test_config_layout', 'test_config_text', 'test_config_bases'),
    'report',
}

# pytest-xdist fills the cores with processes, so each of them, and each tool that a
# test starts, computes on one thread. Set before torch is imported: it reads it once.
if 'PYTEST_XDIST_WORKER' in os.environ:
    os.environ['OMP_NUM_THREADS'] = '1'
os.environ['PYTHONPATH'] = os.pathsep.join(
    [str(ROOT / 'projects'), *filter(None, [os.environ.get('PYTHONPATH')])]
)
# Figures are drawn to files: no display is asked for.
os.environ['MPLBACKEND'] = 'Agg'

import cv2
import pytest
import torch

from tests.plain_outputs import make_plain

# Without a card the kernels run in Triton's interpreter, which decides when Triton is
# imported: torch by itself does not.
if not torch.cuda.is_available():
    os.environ.setdefault('TRITON_INTERPRET', '1')

cv2.setNumThreads(0)
torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', '2')))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the folders whose files take longest: the last ones fill the gaps."""
    rank = {folder: place for place, folder in enumerate(SLOW)}

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(ROOT).parts[:2]
        return rank.get('/'.join(folder), len(rank))

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """Set aside what is imported: nothing looks through it for garbage any more.

    mmengine asks for a collection with each data set that it builds.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope='module')
def _plain_outputs(request: pytest.FixtureRequest) -> Iterator[None]:
    """Draw no curves and lay out no configs, but where tests look at them."""
    with pytest.MonkeyPatch.context() as patch:
        if LOOK_AT_OUTPUTS.isdisjoint((request.path.stem, request.path.parent.name)):
            make_plain(patch.setattr)
        yield


@pytest.fixture(autouse=True)
def _own_loggers() -> Iterator[None]:
    """Forget the loggers of a test, which write to what pytest closes after it."""
    yield
    package = sys.modules.get('mmengine.logging')
    if package is not None:
        package.MMLogger._instance_dict.clear()


@pytest.fixture(autouse=True, scope='module')
def _own_visualizers() -> Iterator[None]:
    """Forget the visualizers of a module: mmengine gives them to whoever is next."""
    yield
    package = sys.modules.get('mmengine.visualization')
    if package is not None:
        visualizer = package.Visualizer
        for kind in (visualizer, *visualizer.__subclasses__()):
            kind._instance_dict.clear()


@pytest.fixture(scope='session')
def repo_root() -> Path:
    """Return the root of the repository."""
    return ROOT
