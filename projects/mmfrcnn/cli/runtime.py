"""Device, processes, work folder and errors of a run: what `train` and `test` share."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mmengine.device.utils
import torch
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmfrcnn.cli.checking.registered import check_registered
from mmfrcnn.cli.checking.work_dir import check_config_copy
from mmfrcnn.cli.config import RUNNER_KEYS, leaves, load_config
from mmfrcnn.cli.deaths.ranks import ranks_explained, sign_in
from mmfrcnn.cli.deaths.workers import workers_explained
from mmfrcnn.cli.earlier_runs import forget_earlier_runs
from mmfrcnn.cli.memory import keep_freed_memory
from mmfrcnn.data.checks.preflight import PreflightHook
from mmfrcnn.data.checks.unreadable import explain_data_error
from mmfrcnn.data.class_names import SPLITS, resolve_classes
from mmfrcnn.deploy.device import check_device
from mmfrcnn.errors import UserError
from mmfrcnn.training.console import QuietRunner, quiet_coco, quieten
from mmfrcnn.training.progress import ProgressHook


def prepare(args: argparse.Namespace) -> Config:
    """Load and check the config of a run and settle its device, processes and folder.

    Args:
        args (argparse.Namespace): Command line with ``config``, ``cfg_options``,
            ``work_dir``, ``device``, ``launcher`` and ``local_rank``.

    Returns:
        Config: Ready for `build_runner`.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    config = load_config(args.config, args.cfg_options)
    check_registered(config)
    resolve_classes(config, print_once)
    if args.work_dir:
        config.work_dir = args.work_dir
    elif config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    check_config_copy(config)
    device = choose_device(args.device)
    config.launcher = args.launcher
    if device.startswith('cuda'):
        _copy_beside_the_work(config)
    if args.launcher != 'none':
        _join_processes(config, args.launcher, device)
    return config


def choose_device(name: str | None) -> str:
    """Make a device the one that mmengine uses, and return its name.

    On a CPU the process keeps the memory that it frees.

    Args:
        name (str | None): ``cpu``, ``cuda`` or ``cuda:N``; None: a GPU if there is one.

    Raises:
        UserError: If there is no such device.
    """
    chosen = name or mmengine.device.get_device()
    if chosen == 'cpu':
        keep_freed_memory()
    else:
        # Products of matrices are rounded to TF32, as those of convolutions are by
        # torch's own choice; NVIDIA_TF32_OVERRIDE=0 forbids both.
        torch.set_float32_matmul_precision('high')
    if name is None:
        return chosen
    check_device(name, '--device')
    kind, _, index = name.partition(':')
    if kind == 'cuda':
        torch.cuda.set_device(int(index or 0))
    mmengine.device.utils.DEVICE = kind
    return name


def _copy_beside_the_work(config: Config) -> None:
    """Copy images to the GPU while it works, unless the config says otherwise."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if config.get(name):
            config[name].setdefault('pin_memory', True)
    preprocessor = config.model.get('data_preprocessor')
    if preprocessor:
        preprocessor.setdefault('non_blocking', True)


def _join_processes(config: Config, launcher: str, device: str) -> None:
    """Choose the backend and, without a GPU, join the group as mmengine can't."""
    if launcher == 'pytorch' and 'RANK' not in os.environ:
        raise UserError(
            '--launcher pytorch: this process was not started by torchrun. Use '
            'tools/dist_train.sh, or torchrun --nproc-per-node=2 -m mmfrcnn train ...'
        )
    if device.startswith('cuda'):
        local_rank, count = int(os.environ['LOCAL_RANK']), torch.cuda.device_count()
        if launcher == 'pytorch' and local_rank >= count:
            raise UserError(
                f'process {local_rank} has no GPU: there are {count} here. '
                'Start at most as many processes as there are GPUs'
            )
        return
    if launcher != 'pytorch':
        raise UserError(f'--launcher {launcher} needs GPUs. On CPUs, use torchrun')
    # mmengine's own way sets a CUDA device, and wraps the model for one.
    torch.distributed.init_process_group('gloo')
    wrapper = {
        'type': 'MMDistributedDataParallel',
        'broadcast_buffers': False,
        'find_unused_parameters': config.get('find_unused_parameters', False),
    }
    config.setdefault('model_wrapper_cfg', wrapper)
    config.model_wrapper_cfg.device_ids = None


def build_runner(config: Config, verbose: bool = False) -> Runner:
    """Build the Runner that a config asks for, and have it look at its data first.

    Args:
        config (Config): From `prepare`.
        verbose (bool): Whether the console shows all that the log file holds.
    """
    forget_earlier_runs()
    if 'runner_type' in config:
        runner = RUNNERS.build(config)
        if not verbose:
            quieten(runner.logger)
    else:
        runner = (Runner if verbose else QuietRunner).from_cfg(config)
    if not any(isinstance(hook, PreflightHook) for hook in runner.hooks):
        runner.register_hook(PreflightHook())
    sign_in()
    return runner


@contextmanager
def console(verbose: bool) -> Iterator[ProgressHook | None]:
    """Run with a console that shows what matters, or with mmengine's.

    Yields:
        ProgressHook | None: To register, in the main process; None if ``verbose``.
    """
    if verbose:
        yield None
        return
    progress = ProgressHook()
    with quiet_coco():
        try:
            yield progress if is_main_process() else None
        finally:
            progress.close()


def leave_processes() -> None:
    """Take leave of the other processes, if any, at the end of a run.

    Threads that still talk to them when Python ends would abort it.
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def is_main_process() -> bool:
    """Whether this process speaks for all (before the process group exists, too)."""
    ranks = map(os.environ.get, ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK'))
    return int(next(filter(None, ranks), '0')) == 0


def print_once(message: str) -> None:
    """Print a message once, not once a process."""
    if is_main_process():
        print(message, flush=True)


NO_IMAGES = 'need at least one array to concatenate'
"""How mmengine ends where a data set is empty."""


@contextmanager
def explained(config: Config, splits: Sequence[str] = SPLITS) -> Iterator[None]:
    """Turn an error that comes from the data into a `UserError` that names its key.

    So it does with the death of a data loader's worker, or of another process.

    Args:
        config (Config): The config of the run.
        splits (Sequence[str]): Those that the run reads.
    """
    option = f'{splits[0]}_dataloader.num_workers'
    try:
        with ranks_explained(), workers_explained(option):
            yield
    except FileNotFoundError as error:
        # From a worker of a data loader, the path is only in the message.
        quoted = re.findall(r"No such file or directory: '(.+)'", str(error))
        missing = error.filename or (quoted[-1] if quoted else '')
        key = _key_of_path(config, missing) if missing else ''
        if not key:
            raise
        raise UserError(f'{key}: no such file: {missing}') from error
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        SyntaxError,
    ) as error:
        # SyntaxError: broken XML, too; AttributeError: XML without a tag.
        explain_data_error(config, splits)
        if NO_IMAGES not in str(error):
            raise
        keys = [f'{split}_dataloader.dataset' for split in splits]
        raise UserError(
            f'{" or ".join(keys)} has no image, or none that its filter_cfg leaves. '
            'Check its ann_file and metainfo=dict(classes=...)'
        ) from error


def _key_of_path(config: Config, missing: str) -> str:
    """Return the key of a file, or of a data set's folder that it should be in, or ''.

    The values of a data set are below its ``data_root``.
    """
    nodes = dict(leaves(config))
    best, best_path = '', ''
    for key, value in nodes.items():
        is_path = isinstance(value, str) and value and key.split('.')[0] in RUNNER_KEYS
        for root in ['', *_data_roots(nodes, key)] if is_path else []:
            path = os.path.abspath(os.path.join(root, value))
            inside = '.dataset.' in key and os.path.abspath(missing).startswith(path)
            if (inside or path == os.path.abspath(missing)) and len(path) > len(
                best_path
            ):
                best, best_path = key, path
    return best


def _data_roots(nodes: dict[str, Any], key: str) -> list[str]:
    """Return the ``data_root`` of the dicts around a key."""
    parts = key.split('.')
    names = ['.'.join([*parts[:depth], 'data_root']) for depth in range(len(parts))]
    return [nodes[name] for name in names if isinstance(nodes.get(name), str)]
