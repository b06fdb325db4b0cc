"""Lines of the log that say where in alternating training a run is."""

from __future__ import annotations

from mmdet.registry import LOG_PROCESSORS
from mmengine.runner import LogProcessor, Runner

from mmfrcnn.training.alternating.loop import AlternatingTrainLoop
from mmfrcnn.training.alternating.steps import STEPS


@LOG_PROCESSORS.register_module()
class StepLogProcessor(LogProcessor):
    """mmengine's log lines, with the step and the iteration within it in front."""

    def get_log_after_iter(
        self, runner: Runner, batch_idx: int, mode: str
    ) -> tuple[dict, str]:
        """Format a line of the log, as mmengine's ``LogProcessor`` does."""
        tag, text = super().get_log_after_iter(runner, batch_idx, mode)
        loop = runner._train_loop
        if mode == 'train' and isinstance(loop, AlternatingTrainLoop):
            done, length = loop.step_iters
            place = f'{done + 1}'.rjust(len(f'{length}')) + f'/{length}'
            text = f'Step {loop.step.number}/{len(STEPS)} [{place}]  {text}'
        return tag, text
