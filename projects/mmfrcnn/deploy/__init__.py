"""Trained detectors at work: in Python, and rearranged for speed."""

from mmfrcnn.deploy.detector import Detector
from mmfrcnn.deploy.found import Found
from mmfrcnn.deploy.prepare import FastInferenceHook, prepare_for_inference
from mmfrcnn.deploy.proposed import Proposed

__all__ = [
    'Detector',
    'FastInferenceHook',
    'Found',
    'Proposed',
    'prepare_for_inference',
]
