"""Loops, and what acts between the steps of training."""

from mmfrcnn.training import loops
from mmfrcnn.training.accumulated import AccumulatedGradientsHook
from mmfrcnn.training.alternating import AlternatingFasterRCNN, AlternatingTrainLoop
from mmfrcnn.training.bfloat16 import Bfloat16OptimWrapper
from mmfrcnn.training.channels_last import ChannelsLastHook
from mmfrcnn.training.compiled import CompileHook
from mmfrcnn.training.cuda_graphs import CudaGraphHook
from mmfrcnn.training.data_wait import DataWaitHook
from mmfrcnn.training.freeze_norm import FreezeNormHook
from mmfrcnn.training.gradients import GradientHook
from mmfrcnn.training.loss_record import LossRecordHook
from mmfrcnn.training.pictures import PicturesHook
from mmfrcnn.training.profiling import ProfileHook
from mmfrcnn.training.progress import ProgressHook
from mmfrcnn.training.results import ResultsHook
from mmfrcnn.training.step_log import StepLogProcessor
from mmfrcnn.training.validation_loss import ValidationLossHook

loops.install()

__all__ = [
    'AccumulatedGradientsHook',
    'AlternatingFasterRCNN',
    'AlternatingTrainLoop',
    'Bfloat16OptimWrapper',
    'ChannelsLastHook',
    'CompileHook',
    'CudaGraphHook',
    'DataWaitHook',
    'FreezeNormHook',
    'GradientHook',
    'LossRecordHook',
    'PicturesHook',
    'ProfileHook',
    'ProgressHook',
    'ResultsHook',
    'StepLogProcessor',
    'ValidationLossHook',
]
