"""The loop of alternating training: four steps in one run, one config, one log.

What the steps hand on lies in ``WORK_DIR/alternating``: the weights that training began
with, and the proposals of steps 1 and 3. So a killed run goes on in the step it was in.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import accumulate, count
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import LOOPS
from mmengine.dist import barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from torch import nn
from torch.optim import Optimizer

from mmfrcnn.data.draws import begin_pass
from mmfrcnn.data.proposals import save_proposals
from mmfrcnn.errors import UserError
from mmfrcnn.files import written_whole
from mmfrcnn.training.alternating.detector import AlternatingFasterRCNN
from mmfrcnn.training.alternating.propose import (
    propose,
    unaugmented,
    with_stored_proposals,
)
from mmfrcnn.training.alternating.settings import check_settings, schedule_of
from mmfrcnn.training.alternating.steps import STEPS, Step
from mmfrcnn.training.loops import seed_iteration, settle_order


@LOOPS.register_module()
class AlternatingTrainLoop(BaseLoop):
    """Train Faster R-CNN in the four steps of Ren et al. 2015, section 3.2.

    The model is an ``AlternatingFasterRCNN``; ``steps.py`` lists what each step trains.
    At the start of each step the optimizer is built anew, with the
    parameters that learn and no others, and the learning-rate schedule begins again.
    Iterations are counted through all four steps. A checkpoint is written at the end of
    each step, besides those of the ``CheckpointHook``; the last one is the network in
    which RPN and Fast R-CNN share their features, and the only one that is validated.

    Args:
        runner (Runner): The Runner.
        dataloader (dict): Config of the training dataloader. For Fast R-CNN, the
            proposals of each image are loaded right before its pipeline packs it.
        rpn (dict): ``max_iters`` of steps 1 and 3, each, and ``param_scheduler``, in
            iterations of the step; without it, the config's.
        rcnn (dict): The same for steps 2 and 4.

    Raises:
        UserError: If the config asks for what alternating training cannot do, or a run
            is resumed that this config did not begin.
    """

    val_begin = 1

    dataloader: Any  # a DataLoader; torch's types know nothing of mmengine's data sets

    def __init__(
        self, runner: Runner, dataloader: dict, *, rpn: dict, rcnn: dict
    ) -> None:
        super().__init__(runner, dataloader)
        self.settings = [rpn, rcnn, rpn, rcnn]
        check_settings(runner, self.settings)
        self.ends = list(accumulate(one['max_iters'] for one in self.settings))
        self.folder = Path(runner.work_dir) / 'alternating'
        self._rpn_loader = self.dataloader
        self._loader_config = dataloader
        self._epoch = 0  # a step is an epoch to mmengine's hooks
        self._iter = 0
        runner.visualizer.dataset_meta = self.dataloader.dataset.metainfo
        runner.register_hook(_EnterStepOnResume(self))

    # What mmengine's hooks ask a loop.

    @property
    def max_epochs(self) -> int:
        """Steps in all."""
        return len(STEPS)

    @property
    def max_iters(self) -> int:
        """Iterations of all steps."""
        return self.ends[-1]

    @property
    def val_interval(self) -> int:
        """Iterations between validations: there is one, at the end."""
        return self.max_iters

    @property
    def epoch(self) -> int:
        """Index of the current step, from 0."""
        return self._epoch

    @property
    def iter(self) -> int:
        """Iterations done, through all steps."""
        return self._iter

    @property
    def step(self) -> Step:
        """The current step."""
        return STEPS[self._epoch]

    @property
    def step_iters(self) -> tuple[int, int]:
        """Iterations done in the current step, and all of it."""
        length = self.settings[self._epoch]['max_iters']
        return self._iter - (self.ends[self._epoch] - length), length

    @property
    def schedules(self) -> dict[str, tuple[list[dict] | None, int]]:
        """Schedule and iterations of steps 1 and 3 (rpn), and of 2 and 4 (rcnn)."""
        return {
            name: (schedule_of(one, self.runner.cfg), one['max_iters'])
            for name, one in zip(('rpn', 'rcnn'), self.settings, strict=False)
        }

    @property
    def model(self) -> AlternatingFasterRCNN:
        """The detector, out of any wrapper for several processes."""
        return getattr(self.runner.model, 'module', self.runner.model)

    def run(self) -> nn.Module:
        """Run the steps, or those that a resumed run has left."""
        if self._iter == 0:
            self._save_initial()
            self.enter(0)
        self.runner.message_hub.update_info('alternating_ends', self.ends)
        self._load_data()
        self.runner.call_hook('before_train')
        while True:
            self._train_step()
            if self.step.proposals_of is None:
                self._store_proposals()
            if self._epoch + 1 == len(STEPS):
                break
            self._restart(STEPS[self._epoch + 1].restarts)
            self.enter(self._epoch + 1)
            self._load_data()
            self._forget_losses()
        self.runner.call_hook('after_train')
        if self.runner.val_loop is not None:
            self.runner.val_loop.run()
        return self.runner.model

    def enter(self, index: int) -> None:
        """Free and freeze the parts of a step; build its optimizer and schedule."""
        runner, cfg = self.runner, self.runner.cfg
        self._epoch = index
        model = self.model
        model.train_only(self.step.trains)
        if runner.distributed:  # the wrapper looks once at what needs gradients
            runner.model = runner.wrap_model(
                copy.deepcopy(cfg.get('model_wrapper_cfg')), model
            )
        runner.optim_wrapper = runner.build_optim_wrapper(
            copy.deepcopy(cfg.optim_wrapper)
        )
        keep_trainable(runner.optim_wrapper.optimizer)
        runner.param_schedulers = None
        runner.scale_lr(runner.optim_wrapper, runner.auto_scale_lr)
        schedule = schedule_of(self.settings[index], cfg)
        if schedule is not None:
            runner.param_schedulers = runner.build_param_scheduler(schedule)

    def _load_data(self) -> None:
        """Make the current step's data the Runner's: with proposals or without."""
        source = self.step.proposals_of
        self.dataloader = self._rpn_loader
        if source is not None:
            config = copy.deepcopy(self._loader_config)
            file = str(self._proposal_file(source))
            config['dataset'] = with_stored_proposals(config['dataset'], file)
            self.dataloader = _build(self.runner, config)
        settle_order(self.runner, self.dataloader)

    def _train_step(self) -> None:
        runner = self.runner
        begun, length = self.step_iters
        done = begun
        runner.logger.info(self._announcement())
        runner.optim_wrapper.initialize_count_status(runner.model, done, length)
        runner.call_hook('before_train_epoch')
        runner.model.train()
        batches = self._batches(done)
        while done < length:
            index, batch = next(batches)
            seed_iteration(runner)
            runner.call_hook('before_train_iter', batch_idx=index, data_batch=batch)
            outputs = runner.model.train_step(batch, optim_wrapper=runner.optim_wrapper)
            runner.call_hook(
                'after_train_iter', batch_idx=index, data_batch=batch, outputs=outputs
            )
            self._iter += 1
            done += 1
        runner.call_hook('after_train_epoch')
        if begun < length:  # else the run goes on from this very checkpoint
            runner.save_checkpoint(
                runner.work_dir,
                f'iter_{self._iter}.pth',
                meta=dict(epoch=self._epoch, iter=self._iter),
                by_epoch=False,
            )

    def _batches(self, done: int) -> Iterator[tuple[int, Any]]:
        """Yield batches as a run does that has done so many iterations of the step."""
        length = len(self.dataloader)
        start = self.ends[self._epoch] - self.settings[self._epoch]['max_iters']
        passes, skipped = divmod(done, length)
        # Each pass of each step has an order of its own.
        for number in count(passes - (-start // length)):
            begin_pass(self.dataloader, self.runner.seed, number, skipped)
            yield from enumerate(self.dataloader, start=skipped)
            skipped = 0

    def _forget_losses(self) -> None:
        """Begin the log's running averages again: they are of another loss now."""
        hub = self.runner.message_hub
        for name in [name for name in hub.log_scalars if name.startswith('train/')]:
            del hub.log_scalars[name], hub._resumed_keys[name]

    def _announcement(self) -> str:
        done, length = self.step_iters
        model = self.model
        sizes = [p.numel() for p in model.parameters() if p.requires_grad]
        parts = [name for name, _ in model.named_children() if name in _PARTS]
        frozen = [name for name in parts if name not in self.step.trains]
        learning = [name for name in parts if name in self.step.trains]
        return (
            f'Step {self.step.number}/{len(STEPS)}: {self.step.title}. Trains '
            f'{", ".join(learning)} ({sum(sizes):,} weights); frozen: '
            f'{", ".join(frozen)}. Iterations {self._iter + 1} to '
            f'{self._iter + length - done} of {self.max_iters}.'
        )

    def _proposal_file(self, number: int) -> Path:
        return self.folder / f'proposals_step{number}.npz'

    def _store_proposals(self) -> None:
        """Run the RPN just trained over the training images, without augmentation."""
        runner, number = self.runner, self.step.number
        test = runner.cfg.get('val_dataloader') or runner.cfg.get('test_dataloader')
        loader = _build(runner, unaugmented(self._loader_config, test))
        model = self.model
        cfg = model.train_cfg.get('rpn_proposal', model.test_cfg.rpn)
        runner.logger.info(
            f'Step {number}/{len(STEPS)}: proposals for {len(loader.dataset)} images'
        )
        images = propose(model, loader, cfg, runner.logger.info)
        if is_main_process():
            path = self._proposal_file(number)
            save_proposals(path, images)
            mean = sum(len(image.boxes) for image in images) / max(1, len(images))
            runner.logger.info(f'{mean:.0f} proposals an image are in {path}')
        barrier()

    @property
    def _initial_file(self) -> Path:
        return self.folder / 'initial.pth'

    def _save_initial(self) -> None:
        """Keep the weights that training begins with, of what starts anew later."""
        if is_main_process():
            again = {part for step in STEPS for part in step.restarts}
            weights = {
                name: value.cpu()
                for name, value in self.model.state_dict().items()
                if name.partition('.')[0] in again
            }
            with written_whole(self._initial_file) as stream:
                torch.save(weights, stream)
        barrier()

    def _restart(self, parts: tuple[str, ...]) -> None:
        """Put parts back to the weights that training began with."""
        if not parts:
            return
        weights = torch.load(self._initial_file, map_location='cpu', weights_only=True)
        for part in parts:
            own = {
                name.partition('.')[2]: value
                for name, value in weights.items()
                if name.partition('.')[0] == part
            }
            if own:  # a detector of one level has no neck
                getattr(self.model, part).load_state_dict(own)

    def resume(self, checkpoint: dict[str, Any]) -> None:
        """Enter the step in which a checkpoint was written, before it is loaded."""
        path = self.runner._load_from
        meta = checkpoint['meta']
        known = checkpoint.get('message_hub', {}).get('runtime_info', {})
        ends = known.get('alternating_ends')
        if ends != self.ends:
            was = f'with steps that end at {ends}' if ends else 'in another way'
            raise UserError(
                f'{path} was trained {was}; the steps of this config end at '
                f'{self.ends}. Resume with the config it was begun with, or start '
                'anew in another --work-dir'
            )
        index = next(i for i, end in enumerate(self.ends) if meta['iter'] <= end)
        needed = [self._initial_file] if index < len(STEPS) - 1 else []
        if STEPS[index].proposals_of:
            needed.append(self._proposal_file(STEPS[index].proposals_of))
        for file in needed:
            if not file.is_file():
                raise UserError(
                    f'{file} is missing: a run cannot be resumed without what its '
                    'earlier steps left there. Start anew, without --resume'
                )
        meta['epoch'] = index  # the hooks of an epoch's end count one further
        self.enter(index)


_PARTS = ('backbone', 'neck', 'rpn_head', 'roi_head')


class _EnterStepOnResume(Hook):
    """Builds the optimizer of the right step before its state is loaded."""

    def __init__(self, loop: AlternatingTrainLoop) -> None:
        self.loop = loop

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if runner._resume:
            self.loop.resume(checkpoint)


def keep_trainable(optimizer: Optimizer) -> None:
    """Take parameters that need no gradients out of an optimizer."""
    for group in optimizer.param_groups:
        group['params'] = [p for p in group['params'] if p.requires_grad]
    optimizer.param_groups[:] = [g for g in optimizer.param_groups if g['params']]


def _build(runner: Runner, config: dict) -> Any:
    different = runner._randomness_cfg.get('diff_rank_seed', False)
    return runner.build_dataloader(config, seed=runner.seed, diff_rank_seed=different)
