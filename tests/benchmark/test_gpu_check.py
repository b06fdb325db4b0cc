"""tools/gpu_check.py to its end on a CPU, and what it does when parts go wrong."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
import warnings
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from mmfrcnn_benchmark import card_tests, operators
from mmfrcnn_benchmark.check_tables import render_check
from mmfrcnn_benchmark.gpu_check import Report, plan_measures
from mmfrcnn_benchmark.machine import describe_machine
from mmfrcnn_benchmark.observe import count_waits, held_bytes, peak_gib
from mmfrcnn_benchmark.openmmlab import Ours
from mmfrcnn_benchmark.operators import OPERATORS, compare_operator, differing
from mmfrcnn_benchmark.parts import Part, PartError, Worker
from mmfrcnn_benchmark.workload import Workload

from mmfrcnn.ops.winograd import WinogradConv2d
from tests.tools import REPO, run_tool

TINY = [*('--device', 'cpu', '--size', 64, 96, '--rounds', 2, '--batches', 1)]
QUICK = [*TINY, '--precisions', 'bfloat16', '--peers']


BROKEN = f"""
import pytest

@pytest.mark.skipif(False, reason='{card_tests.REASON}')
def test_kernels_are_interpreted():
    triton = pytest.importorskip('triton')
    assert not isinstance(triton.jit(lambda x: x), triton.JITFunction)

@pytest.mark.skipif(False, reason='{card_tests.REASON}')
def test_of_the_card():
    raise ValueError('too many dots')

@pytest.mark.skipif(True, reason='{card_tests.REASON}')
def test_skipped():
    pass

def test_of_the_processor():
    raise AssertionError('it is not asked for')
"""


def check(*arguments, **more):
    return run_tool('gpu_check.py', *arguments, **more)


def test_runs_to_its_end(tmp_path):
    out = tmp_path / 'out'
    broken = tmp_path / 'test_broken.py'
    broken.write_text(BROKEN)
    done = check(
        *('--out', out, '--parts', 'tests', 'NMS', 'infer'),
        *('--tests', 'tests/ops/test_iou.py', broken, *QUICK),
        cwd=tmp_path,
    )
    assert done.returncode == 1, done.stderr  # a test has failed
    names = {path.name for path in out.iterdir()}
    assert names == {'gpu_check.json', 'gpu_check.md', 'gpu_check.log'}
    report = json.loads((out / 'gpu_check.json').read_text())
    assert report['machine']['processor'] and report['machine']['versions']
    iou, broken, nms, infer = report['parts']
    assert iou['result']['passed'] >= 12 and iou['result']['failed'] == []
    assert broken['result']['skipped'] == broken['result']['passed'] == 1
    line = 'test_of_the_card: ValueError: too many dots'
    assert broken['result']['failed'] == [line]
    assert nms['part'] == 'NMS, batch 1, float32'  # boxes have full precision
    assert set(nms['result']['seconds']) == {'for CPUs', 'plain torch', 'torchvision'}
    assert nms['result']['differing'] == 0.0
    assert infer['part'] == 'infer, batch 1, bfloat16'
    asked = infer['result']['observed']['mmfrcnn']
    assert 0 < asked['busy'] <= 1 and asked['launches'] > 100
    text = (out / 'gpu_check.md').read_text()
    assert text in done.stdout
    for title in (
        f'test_broken.py, {line}',
        '## Tests',
        '## Steps',
        '## Operators alone',
        'best peer over ours',
    ):
        assert title in text
    assert '## Failed' not in text and '## Left out' not in text


def test_what_no_longer_fits_is_named_and_so_are_tests_that_did_not_run(tmp_path):
    done = check('--out', tmp_path / 'out', '--minutes', 0.1, *QUICK)
    assert done.returncode == 1
    text = (tmp_path / 'out/gpu_check.md').read_text()
    assert '- tests: tests/ops/test_nms.py: no time was left' in text
    assert '- train, batch 1, bfloat16: no time was left' in text


@pytest.mark.parametrize(
    'arguments, message',
    [
        ([], 'out holds theirs.txt, which no earlier run'),
        (['--device', 'tpu'], '--device tpu'),
        (['--device', 'cuda'], 'finds no CUDA device'),
        (['--peers', 'mmdt'], "no contender 'mmdt'"),
        (['--batches', '0'], '--batches 0'),
        (['--minutes', '0'], '--minutes 0'),
    ],
)
def test_mistakes(tmp_path, arguments, message):
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'theirs.txt').touch()
    done = check('--out', out, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr and 'Traceback' not in done.stderr
    assert [path.name for path in out.iterdir()] == ['theirs.txt']


def test_an_earlier_check_is_written_over(tmp_path):
    Report(tmp_path, 9.0)
    (tmp_path / 'gpu_check.log').write_text('of before')
    done = check('--out', tmp_path, '--minutes', 0.1, '--parts', 'NMS', *QUICK)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'gpu_check.log').read_text() == ''


def add(device, *, left, right):
    logging.getLogger('mmfrcnn.ops').warning('no kernel for %s', device)
    return dict(sum=left + right, process=os.getpid())


def out_of_memory(device):
    raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 9 GiB\nand so')


def crash(device):
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(device):
    time.sleep(600)


def test_parts_that_fail_hang_or_crash_leave_the_others_alone(tmp_path):
    worker = Worker('cpu', tmp_path / 'log')
    try:
        first = worker.run(Part('first', partial(add, left=1, right=2)), 60)
        with pytest.raises(PartError, match=r'^OutOfMemoryError: .*9 GiB$'):
            worker.run(Part('memory', out_of_memory), 60)
        second = worker.run(Part('second', partial(add, left=3, right=4)), 60)
        assert first['process'] == second['process'] != os.getpid()
        assert first['sum'] == 3 and second['sum'] == 7
        assert second['warned'] == ['no kernel for cpu']
        with pytest.raises(PartError, match=f'code -{int(signal.SIGSEGV)}'):
            worker.run(Part('crash', crash), 60)
        # In a new process, wherever it is after this time.
        with pytest.raises(PartError, match='stopped after 0 s'):
            worker.run(Part('hang', hang), 0.2)
    finally:
        worker.stop()
    text = (tmp_path / 'log').read_text()
    assert '--- memory' in text and 'Traceback' in text


class Scripted:
    """Stands in for a worker: gives a result, or raises."""

    def __init__(self, *, failed=(), error=''):
        self.failed, self.error = list(failed), error

    def run(self, part, seconds):
        if self.error:
            raise PartError(self.error)
        return dict(
            benchmark='tests', file='a.py', passed=3, skipped=0, failed=self.failed
        )


def test_failures_are_in_the_tables(tmp_path):
    report = Report(tmp_path, 9.0)
    failing = Scripted(failed=['test_ties: AssertionError'])
    report.add(Part('tests: a.py', hang), failing, 60, 30)
    report.add(Part('train', hang), Scripted(error='OutOfMemoryError: 9 GiB'), 60, 30)
    report.add(Part('infer', hang), Scripted(), 3, 30)
    text = (tmp_path / 'gpu_check.md').read_text()
    assert '- a.py, test_ties: AssertionError' in text
    assert '## Failed\n\n- train: OutOfMemoryError: 9 GiB' in text
    assert '## Left out\n\n- infer: no time was left' in text
    assert json.loads((tmp_path / 'gpu_check.json').read_text()) == report.content


@pytest.mark.parametrize(
    'name, worker, left, passed',
    [
        ('tests: a.py', Scripted(), 60, True),
        ('tests: a.py', Scripted(failed=['test_ties: AssertionError']), 60, False),
        ('tests: a.py', Scripted(error='stopped after 9 s'), 60, False),
        ('tests: a.py', Scripted(), 3, False),  # left out
        ('train', Scripted(error='OutOfMemoryError'), 60, True),
    ],
)
def test_the_exit_code_is_of_the_tests(tmp_path, name, worker, left, passed):
    report = Report(tmp_path, 9.0)
    report.add(Part(name, hang), worker, left, 30)
    assert report.tests_passed() == passed


@pytest.mark.parametrize('name', list(OPERATORS))
def test_operators_alone(name, monkeypatch):
    monkeypatch.setattr(operators, 'REGIONS', 6)
    work = Workload(images=2, height=64, width=96, objects=3)
    result = compare_operator(
        name, work, rounds=2, warmup=0, progress=lambda text: None
    )
    assert not result['failed']
    assert len(result['seconds']) == 3
    assert all(min(values) > 0 for values in result['seconds'].values())
    assert result['differing'] == 0.0
    assert name in render_check(
        dict(machine={}, parts=[dict(part=name, result=result)])
    )


def test_an_implementation_that_fails_leaves_the_others(monkeypatch):
    def broken(*args):
        raise NotImplementedError('no kernel for this card\nat all')

    monkeypatch.setattr(operators, 'batched_nms', broken)
    work = Workload(images=1, height=64, width=96)
    result = compare_operator(
        'NMS', work, rounds=1, warmup=0, progress=lambda text: None
    )
    assert result['failed'] == {
        'torchvision': 'NotImplementedError: no kernel for this card'
    }
    assert set(result['seconds']) == {'for CPUs', 'plain torch'}
    text = render_check(dict(machine={}, parts=[dict(part='NMS', result=result)]))
    assert '- NMS, batch 1, torchvision: NotImplementedError' in text


def test_steps_are_set_beside_the_best_peer():
    seen = dict(peak_gib=2.5, waits=1, launches=1234.0, busy=0.5)
    result = dict(
        benchmark='train',
        workload=vars(Workload(images=8, device='cuda', precision='bfloat16')),
        seconds=dict(mmfrcnn=[0.1, 0.2], mmdet=[0.3, 0.6], torchvision=[0.2, 0.4]),
        observed=dict(mmfrcnn=seen, mmdet=seen | dict(waits=285, busy=None)),
        warned=['plain operators instead of the kernel'],
    )
    text = render_check(dict(machine={}, parts=[dict(part='a', result=result)]))
    cells = [line.replace(' ', '') for line in text.splitlines()]
    # 8 images in 0.15, 0.45 and 0.3 s; torchvision takes twice as long in each round.
    assert '|train|8|bfloat16|2.00(2.00to2.00)|53.3|17.8|26.7|' in cells
    assert '## Warnings\n\n- plain operators instead of the kernel\n' in text
    assert '|train|8|bfloat16|2.50/2.50|1/285|1,234/1,234|50%/-|' in cells


def test_what_is_asked_of_a_gpu(monkeypatch):
    """The figures that only a GPU gives, from what torch says of one."""
    memory = {'allocated': 5 << 30, 'peak': 0}

    def set_mode(mode):
        if mode == 'warn':
            warnings.warn(
                'Synchronization debug mode is a prototype feature and does not yet '
                'detect all synchronizing operations',
                stacklevel=1,
            )

    def step():
        memory['peak'] = 9 << 30
        for _ in range(3):
            warnings.warn('called a synchronizing CUDA operation', stacklevel=1)

    for name, value in (
        ('get_sync_debug_mode', lambda: 'default'),
        ('set_sync_debug_mode', set_mode),
        ('memory_allocated', lambda device: memory['allocated']),
        ('reset_peak_memory_stats', lambda device: memory.update(peak=0)),
        ('max_memory_allocated', lambda device: memory['peak']),
    ):
        monkeypatch.setattr(torch.cuda, name, value)
    assert count_waits(step) == 3
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        work = Workload(device='cuda')
        assert peak_gib(step, work, held_bytes('cuda')) == 4.0


def test_the_card_is_named(monkeypatch):
    card = SimpleNamespace(name='A card', total_memory=80 << 30, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, 'get_device_properties', lambda device: card)
    facts = describe_machine('cuda')
    assert facts['GPU'].startswith('A card, 80 GiB, sm_90, driver ')
    assert torch.__version__ in facts['versions'] and 'cuDNN' in facts['CUDA']


def test_our_detector_is_made_ready_for_its_device():
    """Winograd's convolutions are for processors, wherever a model was built."""
    for device, expected in (('cpu', True), ('meta', False)):
        model = Ours(Workload(device=device, classes=5), training=False).model
        kinds = {type(layer) for layer in model.modules()}
        assert (WinogradConv2d in kinds) == expected


def test_differing_counts_entries():
    a = [torch.tensor([1.0, 2.0, float('nan')]), torch.tensor([True, False])]
    b = [torch.tensor([1.005, 2.2, float('nan')]), torch.tensor([True, True])]
    assert differing(a, b) == 2 / 5


def test_the_tests_of_a_card_are_found():
    files = card_tests.test_files()
    assert 'tests/ops/test_nms.py' in files
    assert 'tests/parity/test_host_waits.py' in files  # skipped without a card
    assert 'tests/cli/test_config.py' not in files
    assert all((REPO / file).is_file() for file in files)


def test_the_most_valuable_comes_first():
    class Arguments:
        parts, peers, rounds = [], None, None
        precisions, batches, size = ['bfloat16', 'float32'], [16, 1], [800, 1344]

    names = [part.name for part in plan_measures(Arguments, 'cuda')]
    assert names[0] == 'NMS, batch 16, float32'
    assert names.index('train, batch 1, bfloat16') < names.index(
        'train, batch 16, float32'
    )
    assert names.count('NMS, batch 16, float32') == 1
    assert names.count('RoIAlign, batch 16, bfloat16') == 1
    recorded = [name for name in names if name.startswith('recorded')]
    assert recorded == [
        f'recorded, {step}, batch 1, {kind}'
        for kind in Arguments.precisions
        for step in ('train', 'infer')
    ]
    assert not [one for one in plan_measures(Arguments, 'cpu') if 'rec' in one.name]
