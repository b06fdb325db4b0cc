"""``tools/test.py``: evaluate a checkpoint."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from mmdet.evaluation.metrics import DumpDetResults
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmfrcnn.cli.checking.needs import check_needs
from mmfrcnn.cli.each_class import evaluate_each_class
from mmfrcnn.cli.outputs import (
    check_file,
    check_folder,
    is_coco_results,
    is_dumped_results,
    mark_folder,
)
from mmfrcnn.cli.precision import choose_precision
from mmfrcnn.cli.results import CocoResults
from mmfrcnn.cli.run_folder import name_files
from mmfrcnn.cli.runtime import (
    build_runner,
    console,
    explained,
    is_main_process,
    leave_processes,
    prepare,
    print_once,
)
from mmfrcnn.data.class_names import innermost
from mmfrcnn.deploy.prepare import FastInferenceHook
from mmfrcnn.deploy.tiled import use_tiles
from mmfrcnn.errors import UserError
from mmfrcnn.evaluation import LedgerHook
from mmfrcnn.training.progress import ProgressHook
from mmfrcnn.weights.checkpoints import check_checkpoint
from mmfrcnn.weights.fitting import check_classes, check_weights

PICKLES = ('.pkl', '.pickle')


def run(args: argparse.Namespace) -> None:
    """Test as the command line says."""
    name_files(args)
    if args.out and not args.out.endswith(('.json', *PICKLES)):
        raise UserError(
            f'--out {args.out}: detections are written as COCO JSON or as a pickle of '
            f'MMDetection; name a .json file, such as '
            f'{Path(args.out).with_suffix(".json")}, or a .pkl file'
        )
    _check_outputs(args)
    config = prepare(args)
    precision = choose_precision(args.precision, get_device())
    if config.get('test_dataloader') is None or config.get('test_evaluator') is None:
        raise UserError(f'{args.config} has no test_dataloader or no test_evaluator')
    check_needs(config, 'test_dataloader')
    check_checkpoint(args.checkpoint)
    config.load_from, config.resume = args.checkpoint, False
    if args.show or args.show_dir:
        _draw(config, args)
    if args.tta and args.tiles:
        raise UserError('--tta and --tiles each wrap the detector: choose one')
    if args.tta:
        _augment(config)
    if args.tiles:
        tiles = tuple(args.tiles)
        use_tiles(config, tiles, args.tile_overlap, args.cuda_graphs)
    evaluate_each_class(config, 'test')
    with explained(config, ['test']), console(args.verbose) as progress:
        inference = FastInferenceHook(args.compile, precision, args.cuda_graphs)
        runner = build_tester(config, args.verbose, progress, inference)
        # Of other ways through the detector than the plain one there is no ledger.
        if not (args.tta or args.tiles or args.compile or args.cuda_graphs):
            runner.register_hook(LedgerHook())
        if args.out:
            runner.test_evaluator.metrics.append(_dump(args.out, runner))
        runner.logger.info(
            f'Testing {args.checkpoint} on {get_device()} ({precision}); '
            f'the whole log is {runner.logger.log_file}'
        )
        runner.test()
    leave_processes()


def build_tester(
    config: Config,
    verbose: bool,
    progress: ProgressHook | None,
    inference: FastInferenceHook,
) -> Runner:
    """Build the Runner of a test.

    Args:
        config (Config): With the checkpoint in ``load_from``.
        verbose (bool): Whether the console shows all that the log file holds.
        progress (ProgressHook | None): The console's, if it has one.
        inference (FastInferenceHook): How the network is run.
    """
    runner = build_runner(config, verbose)
    runner.register_hook(WeightsCheck())
    if progress:
        runner.register_hook(progress)
    runner.register_hook(inference)
    return runner


def _check_outputs(args: argparse.Namespace) -> None:
    """Refuse to write over what no earlier test wrote."""
    if args.out:
        pickled = args.out.endswith(PICKLES)
        is_own = is_dumped_results if pickled else is_coco_results
        check_file('--out', Path(args.out), is_own)
    # Any other lies in a new folder of this run.
    if args.show_dir and Path(args.show_dir).is_absolute():
        check_folder('--show-dir', Path(args.show_dir))


def _dump(path: str, runner: Runner) -> BaseMetric:
    """Return what writes the detections: for a pickle, MMDetection's own.

    Only reading a pickle can run code; MMDetection's analysis tools read this one.
    """
    if path.endswith(PICKLES):
        return DumpDetResults(path)
    return CocoResults(path, runner.test_dataloader.dataset)


class WeightsCheck(Hook):
    """Refuses a checkpoint of other weights, or of the classes in another order."""

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Compare the checkpoint with the model (with the detector inside, for TTA)."""
        model = getattr(runner.model, 'module', runner.model)
        model = getattr(model, 'module', model)
        weights = checkpoint.get('state_dict', checkpoint)
        path = str(runner._load_from)
        check_weights(model, weights, path)
        metainfo = getattr(runner.test_dataloader.dataset, 'metainfo', {})
        check_classes(checkpoint, metainfo.get('classes'), path)


def _draw(config: Config, args: argparse.Namespace) -> None:
    hook = config.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise UserError(
            '--show and --show-dir need visualization=dict(type='
            "'DetVisualizationHook') in the default_hooks of the config"
        )
    hook.draw = True
    if args.show:
        hook.show, hook.wait_time = True, args.wait_time
    if args.show_dir:
        hook.test_out_dir = args.show_dir
        if Path(args.show_dir).is_absolute() and is_main_process():
            mark_folder(Path(args.show_dir))


def _augment(config: Config) -> None:
    """Wrap the model and pipeline for test-time augmentation, as MMDetection does."""
    dataset = innermost(config.test_dataloader.dataset)
    if 'tta_model' not in config:
        print_once('The config has no tta_model: merging with NMS at IoU 0.5.')
        nms = {'type': 'nms', 'iou_threshold': 0.5}
        config.tta_model = {
            'type': 'DetTTAModel',
            'tta_cfg': {'nms': nms, 'max_per_img': 100},
        }
    if 'tta_pipeline' not in config:
        print_once('The config has no tta_pipeline: each image as it is and flipped.')
        config.tta_pipeline = _flipping_pipeline(dataset.pipeline)
    config.model = ConfigDict(**config.tta_model, module=config.model)
    dataset.pipeline = config.tta_pipeline


def _flipping_pipeline(pipeline: Sequence[dict]) -> list[dict]:
    packing = deepcopy(pipeline[-1])
    keys = packing.get('meta_keys') or (
        'img_id',
        'img_path',
        'ori_shape',
        'img_shape',
        'scale_factor',
    )
    packing['meta_keys'] = (*keys, 'flip', 'flip_direction')
    flips = [{'type': 'RandomFlip', 'prob': prob} for prob in (0.0, 1.0)]
    return [*pipeline[:-1], {'type': 'TestTimeAug', 'transforms': [flips, [packing]]}]
