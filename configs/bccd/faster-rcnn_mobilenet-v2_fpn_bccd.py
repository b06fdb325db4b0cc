# Faster R-CNN with an ImageNet MobileNetV2 and a feature pyramid on BCCD blood cells:
# train on the 292 trainval images, evaluate on the 72 test images. Meant for a CPU.
#   python tools/train.py configs/bccd/faster-rcnn_mobilenet-v2_fpn_bccd.py
# Measured: AP .587 on the test images, 26 minutes on one core of a busy machine.
# README.md beside this file says where the data and the weights come from.
_base_ = [
    '../_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/bccd_voc.py',
    '../_base_/default_runtime.py',
]
weights = 'weights/mobilenet_v2_imagenet.pth'
max_epochs = 8

smooth_l1 = dict(_delete_=True, type='SmoothL1Loss', beta=1 / 9, loss_weight=1.0)
model = dict(
    backbone=dict(
        _delete_=True,
        type='TorchvisionBackbone',
        name='mobilenet_v2',
        out_nodes=['features.3', 'features.6', 'features.13', 'features.18'],
        frozen_node='features.3',  # the first four blocks
        frozen_norm=True,
        init_cfg=dict(type='Pretrained', checkpoint=weights),
    ),
    neck=dict(in_channels=[24, 32, 96, 1280], out_channels=128),
    rpn_head=dict(
        in_channels=128,
        feat_channels=128,
        anchor_generator=dict(scales=[4]),  # times the stride: 16 to 256 px
        loss_bbox=smooth_l1,
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(roi_layer=dict(sampling_ratio=2), out_channels=128),
        bbox_head=dict(in_channels=128, num_classes=3, loss_bbox=smooth_l1),
    ),
    train_cfg=dict(rcnn=dict(sampler=dict(num=256))),
    test_cfg=dict(rpn=dict(max_per_img=500)),
)

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=4)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001),
)
param_scheduler = [
    dict(
        type='OneCycleLR',
        eta_max=0.02,
        begin=0,
        end=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(max_keep_ckpts=2),
)
custom_hooks = [dict(type='PreflightHook'), dict(type='ChannelsLastHook')]
log_processor = dict(window_size=10)
randomness = dict(seed=0)
