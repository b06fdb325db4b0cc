# Data of one's own, on a GPU: ResNet-50 with a feature pyramid, and ImageNet weights
# that torchvision offers (98 MB, fetched once). A base of what `mmfrcnn new` writes.
_base_ = [
    '../models/faster-rcnn_r50_fpn.py',
    '../datasets/own_detection.py',
    '../default_runtime.py',
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001),
    clip_grad=dict(max_norm=10),  # few images: one odd batch must not undo the rest
)
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(max_keep_ckpts=1, save_best='coco/bbox_mAP'),
)
log_processor = dict(window_size=10)
randomness = dict(seed=0)
