"""One of several processes dies: the others say which, at once, and end."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest
import torch
from torch import distributed

from mmfrcnn.cli.deaths import ranks
from mmfrcnn.cli.deaths.ranks import Rank, ranks_explained, sign_in
from mmfrcnn.errors import UserError
from tests.end_to_end.tiny import make_config
from tests.tools import REPO, free_port, run_forked, run_ranks

PROCESSES = 3


def talk(rank: int, port: int, folder: Path, victim: int, how: str) -> None:
    """Be a process of three, of which one dies; write down what it ended with."""
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    distributed.init_process_group('gloo', rank=rank, world_size=PROCESSES)
    sign_in()
    try:
        with ranks_explained():
            for iteration in range(3):
                if iteration == 1 and rank == victim:
                    die(how)
                distributed.all_reduce(torch.ones(1))
    except Exception as error:
        (folder / f'{rank}').write_text(f'{type(error).__name__}: {error}')
    finally:
        (folder / f'pid{rank}').write_text(str(os.getpid()))
        # Under torchrun the store outlives all, but here it is rank 0's.
        while rank == 0 and len(list(folder.glob('pid*'))) < PROCESSES - (
            how == 'kill'
        ):
            time.sleep(0.01)


def die(how: str) -> None:
    if how == 'kill':
        os.kill(os.getpid(), signal.SIGKILL)
    raise {'user': UserError('no box\nand more'), 'bug': ValueError('a\nof 3')}[how]


def run_three(folder: Path, victim: int, how: str) -> list[str]:
    """Return what three processes ended with; '' of one that was killed."""
    context = torch.multiprocessing.get_context('forkserver')
    port = free_port()
    processes = [
        context.Process(target=talk, args=(rank, port, folder, victim, how))
        for rank in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
        process.kill()
    paths = [folder / f'{rank}' for rank in range(PROCESSES)]
    return [path.read_text() if path.exists() else '' for path in paths]


@pytest.mark.parametrize('victim', [0, 1])
def test_one_that_is_killed_is_named_by_all(tmp_path, victim):
    said = run_three(tmp_path, victim, 'kill')
    assert said[victim] == ''
    for rank in {0, 1, 2} - {victim}:
        assert said[rank].startswith(f'UserError: rank {victim} (pid ')
        assert f' on {socket.gethostname()}) has ended. Look for its own' in said[rank]
        assert 'it was killed, most likely because memory ran out' in said[rank]


@pytest.mark.parametrize(
    ('how', 'own', 'word'),
    [
        ('user', 'UserError: no box', 'no box'),
        ('bug', 'ValueError: a', 'ValueError: of 3'),
    ],
)
def test_one_that_an_error_ends_is_quoted(tmp_path, how, own, word):
    said = run_three(tmp_path, 2, how)
    assert said[2].startswith(own)  # as it was
    pid = (tmp_path / 'pid2').read_text()
    expected = f'rank 2 (pid {pid} on {socket.gethostname()}) has ended: {word}. Look'
    assert expected in said[0] and expected in said[1]


LOST = '[gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:5'


@pytest.fixture
def two(monkeypatch):
    """Be rank 0 of two; return a function that says who they are."""
    monkeypatch.setattr(ranks, 'PATIENCE', 0.2)
    store = distributed.HashStore()
    distributed.init_process_group('fake', rank=0, world_size=2, store=store)

    def sign(other: Rank) -> distributed.Store:
        own = Rank(0, socket.gethostname(), os.getpid())
        monkeypatch.setattr(ranks, '_ranks', [own, other])
        return distributed.distributed_c10d._get_default_store()

    yield sign
    distributed.destroy_process_group()


def lose() -> None:
    with ranks_explained():
        raise RuntimeError(LOST)


def test_one_of_another_machine_is_looked_for_there(two):
    two(Rank(1, 'elsewhere', 7))
    with pytest.raises(
        UserError, match=r'messages of the others: rank 1 \(pid 7 on els'
    ):
        lose()


def test_its_word_comes_from_another_machine_too(two):
    two(Rank(1, 'elsewhere', 7)).set('mmfrcnn/word/1', 'no box')
    with pytest.raises(
        UserError, match=r'rank 1 \(pid 7 on elsewhere\) has ended: no b'
    ):
        lose()


def test_one_that_ended_for_want_of_another_is_not_the_cause(two):
    two(Rank(1, 'elsewhere', 7)).set('mmfrcnn/word/1', '')
    with pytest.raises(UserError, match='messages of the others'):
        lose()


def test_where_all_are_there_the_error_is_what_it_was(two):
    two(Rank(1, socket.gethostname(), os.getppid()))
    with pytest.raises(RuntimeError, match='Connection closed by peer'):
        lose()


def test_one_process_alone_has_nobody_to_lose():
    sign_in()
    with pytest.raises(RuntimeError, match='Connection closed by peer'):
        lose()


HOOK = """
import os, runpy, signal, sys
from mmdet.registry import HOOKS
from mmengine.hooks import Hook

@HOOKS.register_module()
class DieHook(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 1 and os.environ['RANK'] == '1':
            os.kill(os.getpid(), signal.SIGKILL)

sys.path.insert(0, {tools!r})
runpy.run_path({tools!r} + '/train.py', run_name='__main__')
"""


def test_a_training_ends_in_a_line_when_a_process_is_killed(tmp_path):
    config = make_config(tmp_path)
    config.write_text(config.read_text() + "custom_hooks = [dict(type='DieHook')]\n")
    tool = tmp_path / 'train.py'
    tool.write_text(HOOK.format(tools=str(REPO / 'tools')))
    options = ['--cfg-options', 'train_dataloader.batch_size=1']
    done = run_ranks(str(tool), config, '--work-dir', tmp_path / 'run', *options)
    assert [one.returncode for one in done] == [2, -signal.SIGKILL]
    (line,) = [x for x in done[0].stderr.splitlines() if x.startswith('error: ')]
    assert line.startswith('error: rank 1 (pid ')
    assert 'Traceback' not in done[0].stderr


def test_torchrun_says_which_process_a_signal_ended(tmp_path):
    script = tmp_path / 'die.py'
    script.write_text(
        'import os, time\n'
        'if os.environ["RANK"] == "1":\n'
        '    os.kill(os.getpid(), 9)\n'
        'time.sleep(60)\n'
    )
    arguments = ['--nproc-per-node=2', f'--master-port={free_port()}', str(script)]
    command = [str(REPO / 'tools/torchrun.py'), *arguments]
    result = run_forked(command, tmp_path)
    assert result.returncode == 1
    (line,) = [x for x in result.stderr.splitlines() if x.startswith('error: ')]
    assert line.startswith('error: rank 1 (pid ') and 'was ended by SIGKILL' in line
