"""The same network, rearranged for speed where no gradient is asked for."""

from mmfrcnn.deploy.prepare import FastInferenceHook, prepare_for_inference

__all__ = ['FastInferenceHook', 'prepare_for_inference']
