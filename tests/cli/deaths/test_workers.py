"""Workers of data loaders that die or cannot hand over: one line, and never a wait."""

from __future__ import annotations

import errno
import multiprocessing.synchronize
import os
import re
import signal
import threading

import mmfrcnn  # noqa: F401  (before mmdet)

# isort: split
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmdet.registry import MODELS, TRANSFORMS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader, get_worker_info

from mmfrcnn.cli.deaths.workers import workers_explained
from mmfrcnn.errors import UserError
from tests.end_to_end.tiny import make_config, run_here

FULL = 'unable to write to file </torch_7_42_0>: No space left on device (28)'
SECONDS = 10
"""A loader that would wait for ever ends with another error."""


class Images:
    """Makes of a worker's index what a function makes of it."""

    def __init__(self, work):
        self.work = work

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return self.work(index)


def load(work) -> None:
    """Load as a training does."""
    images = Images(work)
    loader = DataLoader(images, num_workers=1, timeout=SECONDS, collate_fn=list)
    with workers_explained('train_dataloader.num_workers'):
        for _ in loader:
            pass


@pytest.mark.parametrize(
    ('number', 'words'),
    [
        (
            signal.SIGKILL,
            r'was killed \(SIGKILL\), most likely .* memory ran out \(.*GiB',
        ),
        (
            signal.SIGBUS,
            r'ended by a bus error: .*shared memory is full \(/dev/shm has',
        ),
        (signal.SIGSEGV, r"the signal 'Segmentation fault'.*num_workers=0 shows where"),
        (signal.SIGTERM, r"the signal 'Terminated'"),
    ],
)
def test_a_worker_that_a_signal_ends(number, words):
    with pytest.raises(UserError, match=words) as caught:
        load(lambda index: os.kill(os.getpid(), number) if index == 2 else index)
    assert re.match(r'a worker of the data loader \(pid \d+\) was ', str(caught.value))
    assert 'train_dataloader.num_workers=' in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_worker_that_just_ends():
    with pytest.raises(UserError, match=r'ended with exit code 3\. Look above'):
        load(lambda index: os._exit(3))


def test_a_bug_in_a_worker_keeps_its_traceback():
    with pytest.raises(
        ZeroDivisionError, match=r'Original Traceback(.|\n)*in <lambda>'
    ):
        load(lambda index: 1 // 0)


def test_shared_memory_that_is_full_is_no_wait(monkeypatch, capfd):
    """In a worker's thread, where Python prints the error and forgets the batch."""

    def fail(storage):
        raise RuntimeError(FULL)

    monkeypatch.setattr(torch.UntypedStorage, '_share_fd_cpu_', fail)
    expected = f'{re.escape(FULL)}: most likely shared memory is full.*--shm-size'
    with pytest.raises(UserError, match=expected):
        load(lambda index: torch.ones(2))
    assert 'Traceback' not in capfd.readouterr().err


def test_what_cannot_be_sent_is_an_error_with_its_traceback():
    with pytest.raises(TypeError, match=r'(?s)Original Traceback.*cannot pickle'):
        load(lambda index: threading.Lock())


def test_a_queue_of_others_prints_its_errors_as_before(capfd):
    queue = multiprocessing.get_context('fork').Queue()
    with workers_explained('--num-workers'):
        queue.put(threading.Lock())
        queue.put(1)
        assert queue.get(timeout=SECONDS) == 1
    assert 'cannot pickle' in capfd.readouterr().err


@pytest.mark.parametrize(
    ('message', 'words'),
    [
        (FULL, 'shared memory is full'),
        (
            'Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback '
            '(most recent call last):\n  File "x.py", line 1\nRuntimeError: unable to '
            'allocate shared memory(shm) for file </torch_1_2_3>: No space left on '
            'device (28)\n',
            'shared memory is full',
        ),
        (
            'unable to open shared memory object </torch_1_2> in read-write mode: Too '
            'many open files (24)',
            'too many open files',
        ),
        ('received 0 items of ancdata', 'too many open files'),
        (
            'Too many open files. Communication with the workers is no longer possible.'
            ' Please increase the limit',
            'too many open files',
        ),
        ('DataLoader worker (pid(s) 4, 5) exited unexpectedly', r'\(pid 4, 5\) ended'),
    ],
)
def test_what_torch_says(message, words):
    expected = pytest.raises(UserError, match=words)
    with expected as caught, workers_explained('--num-workers'):
        raise RuntimeError(message)
    assert '--num-workers=' in str(caught.value)


def test_the_error_that_another_hides_is_found():
    """A signal's error comes up wherever the main process just is."""
    killed = RuntimeError('DataLoader worker (pid 7) is killed by signal: Killed. ')
    expected = pytest.raises(UserError, match=r'\(pid 7\) was killed')
    with expected, workers_explained('--num-workers'):
        raise TypeError('class `Loop` in mmengine/runner/loops.py') from killed


@pytest.mark.parametrize(
    'error',
    [
        RuntimeError('CUDA error: an illegal memory access was encountered'),
        OSError(errno.ENOSPC, 'No space left on device', 'epoch_1.pth'),
        OSError('Caught OSError in DataLoader worker process 0.\nOriginal Traceback:\n'
                "OSError: [Errno 24] Too many open files: 'a.jpg'"),
        UserError('a worker of another kind'),
        KeyboardInterrupt(),
    ],
)  # fmt: skip
def test_another_error_is_let_through(error):
    with pytest.raises(type(error)) as caught, workers_explained('--num-workers'):
        raise error
    assert caught.value is error


def test_no_room_for_what_starts_a_worker(monkeypatch):
    def fail(*args):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(multiprocessing.synchronize._multiprocessing, 'SemLock', fail)
    expected = pytest.raises(
        UserError, match=r'no worker could be started: .*--shm-size'
    )
    with expected, workers_explained('--num-workers'):
        multiprocessing.get_context('fork').Queue()


def test_too_many_open_files_in_the_main_process():
    words = r'\(a process may have \d+ open\).*ulimit -n'
    expected = pytest.raises(UserError, match=words)
    with expected, workers_explained('--num-workers'):
        raise OSError(errno.EMFILE, 'Too many open files')


@TRANSFORMS.register_module()
class KillWorker(BaseTransform):
    """Kills the worker that it runs in, as the system does when memory runs out."""

    def transform(self, results: dict) -> dict:
        if get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return results


@pytest.mark.parametrize('tool', ['train', 'predict'])
def test_the_tools_say_it_in_a_line(tool, tmp_path, capsys):
    config = make_config(tmp_path)
    text = config.read_text()
    load = "dict(type='LoadImageFromFile'),"
    config.write_text(text.replace(load, f"{load}\n    dict(type='KillWorker'),"))
    option = '--num-workers'
    if tool == 'train':
        option = 'train_dataloader.num_workers'
        arguments = [config, '--work-dir', tmp_path / 'run']
        arguments += ['--cfg-options', f'{option}=1']
    else:
        weights = tmp_path / 'random.pth'
        init_default_scope('mmdet')
        model = MODELS.build(Config.fromfile(config).model)
        torch.save({'state_dict': model.state_dict()}, weights)
        arguments = [tmp_path / 'data/images', config, weights]
        arguments += ['--out-dir', tmp_path / 'out', option, 1]
    assert run_here(tool, *arguments) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith('error: a worker of the data loader (pid ')
    assert 'was killed (SIGKILL)' in message and f'({option}=1, or 0' in message
