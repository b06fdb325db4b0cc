# Faster R-CNN on drawn shapes in the paper's four steps (Ren et al. 2015, section 3.2),
# from random weights, on any machine.
#   python tools/train.py configs/alternating/faster-rcnn_r18_fpn_alternating_shapes.py
_base_ = '../shapes/faster-rcnn_r18_fpn_shapes.py'
model = dict(type='AlternatingFasterRCNN')

train_cfg = dict(
    _delete_=True,
    type='AlternatingTrainLoop',
    rpn=dict(max_iters=500),  # steps 1 and 3, each
    rcnn=dict(max_iters=500),  # steps 2 and 4, each
)
# In iterations of a step: it begins anew with each, and ends with it.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=40),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=40, eta_min_ratio=0.005),
]
log_processor = dict(type='StepLogProcessor')
