"""Hooks and loops of training."""

from .alternating import AlternatingTrainLoop
from .channels_last import ChannelsLastHook
from .compiled import CompileHook, compile_detector
from .freeze_norm import FreezeNormHook
from .loss_record import LossRecordHook
from .profiling import ProfileHook
from .step_log import StepLogProcessor

__all__ = [
    'AlternatingTrainLoop',
    'ChannelsLastHook',
    'CompileHook',
    'FreezeNormHook',
    'LossRecordHook',
    'ProfileHook',
    'StepLogProcessor',
    'compile_detector',
]
