# BCCD at a small budget, to compare choices: 220 iterations of 4 images (3 epochs).
# Joint training, RoIAlign, plain sampling; the three configs beside it change one each.
#   python tools/train.py configs/bccd/faster-rcnn_mobilenet-v2_fpn_220i_bccd.py
_base_ = './faster-rcnn_mobilenet-v2_fpn_bccd.py'
train_cfg = dict(
    _delete_=True, type='IterBasedTrainLoop', max_iters=220, val_interval=220
)
param_scheduler = [dict(type='OneCycleLR', eta_max=0.02, by_epoch=False, end=220)]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=55))
log_processor = dict(by_epoch=False)
