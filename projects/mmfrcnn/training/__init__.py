"""Hooks and loops of training."""

from .alternating import AlternatingTrainLoop
from .channels_last import ChannelsLastHook
from .step_log import StepLogProcessor

__all__ = ['AlternatingTrainLoop', 'ChannelsLastHook', 'StepLogProcessor']
