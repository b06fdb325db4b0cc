"""Hooks and loops of training."""

from .alternating import AlternatingTrainLoop
from .channels_last import ChannelsLastHook
from .compiled import CompileHook, compile_detector
from .data_wait import DataWaitHook
from .freeze_norm import FreezeNormHook
from .loss_record import LossRecordHook
from .profiling import ProfileHook
from .step_log import StepLogProcessor

__all__ = [
    'AlternatingTrainLoop',
    'ChannelsLastHook',
    'CompileHook',
    'DataWaitHook',
    'FreezeNormHook',
    'LossRecordHook',
    'ProfileHook',
    'StepLogProcessor',
    'compile_detector',
]
