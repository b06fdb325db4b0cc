"""All rearrangements in one call, for the tools that test and predict."""

from __future__ import annotations

import copy
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from mmfrcnn.deploy.cuda_graphs import RecordedDetection
from mmfrcnn.deploy.fold import fold_batch_norms
from mmfrcnn.deploy.precision import DTYPES, halve_precision
from mmfrcnn.deploy.tiled import TiledDetector
from mmfrcnn.errors import UserError
from mmfrcnn.ops.winograd import WinogradConv2d
from mmfrcnn.training.compiled import compile_detector
from mmfrcnn.training.recording import CudaGraphs


def prepare_for_inference(
    model: Any,
    compiled: bool = False,
    precision: str = 'fp32',
    recorded: bool = False,
) -> nn.Module:
    """Rearrange a trained model for inference, in place.

    Batch norms go into their convolutions, feature maps are channels last in memory,
    and on a CPU wide 3x3 convolutions are Winograd's. Results are the same but for
    rounding, that of half precision where it is asked for. The model cannot be trained,
    nor its checkpoint saved, afterwards.

    Args:
        model (nn.Module): With its final weights, on its final device.
        compiled (bool): Whether to compile the parts too (torch.compile); Winograd's
            convolutions are then the compiler's affair.
        precision (str): ``fp32``, or ``bf16`` or ``fp16``: see
            :func:`~mmfrcnn.deploy.precision.halve_precision`.
        recorded (bool): Whether to record the work as CUDA graphs.

    Returns:
        nn.Module: The same model, in eval mode.

    Raises:
        UserError: If it is to be recorded and cannot be.
    """
    model.eval()
    fold_batch_norms(model)
    model.to(memory_format=torch.channels_last)
    if precision != 'fp32':
        halve_precision(model, DTYPES[precision])
    if recorded:
        if next(model.parameters()).device.type != 'cuda':
            raise UserError('--cuda-graphs needs a GPU, and this runs on the CPU.')
        model.detect = RecordedDetection(model, CudaGraphs(), print_log)
    if compiled:
        return compile_detector(model)
    for name, layer in list(model.named_modules()):
        if WinogradConv2d.fits(layer) and layer.weight.device.type == 'cpu':
            model.set_submodule(name, WinogradConv2d.of(layer))
    return model


@HOOKS.register_module()
class FastInferenceHook(Hook):
    """Test a copy of the model, :func:`prepare_for_inference`'s.

    A copy, and only for the epoch of testing: hooks that hold the model's weights (an
    average of them, say) find it as they left it.

    Args:
        compiled (bool): Whether to compile the copy.
        precision (str): Of the copy.
        recorded (bool): Whether to record the copy.
    """

    priority = 'LOW'  # after those hooks have put in the weights to test

    def __init__(
        self, compiled: bool = False, precision: str = 'fp32', recorded: bool = False
    ) -> None:
        self.compiled = compiled
        self.precision = precision
        self.recorded = recorded

    def before_test_epoch(self, runner: Runner) -> None:
        """Put the rearranged copy in the place of the model."""
        self._model = runner.model
        inside = self._model.module if is_model_wrapper(self._model) else self._model
        runner.model = copy.deepcopy(inside)
        tiled = isinstance(inside, TiledDetector)
        prepare_for_inference(
            runner.model.module if tiled else runner.model,
            self.compiled,
            self.precision,
            self.recorded,
        )

    def after_test_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Put the model back."""
        runner.model = self._model
