# Faster R-CNN MobileNetV3-Large-FPN on COCO: torchvision's architecture and schedule.
#   bash tools/dist_train.sh \
#     configs/faster_rcnn/faster-rcnn_mobilenet-v3-large_fpn_26e_coco.py 8
# Published elsewhere: box AP 32.8 (torchvision). Not trained here.
_base_ = [
    '../_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='TorchvisionBackbone',
        name='mobilenet_v3_large',
        out_nodes=['features.13', 'features.16'],  # both at stride 32
        frozen_node='features.6',
        frozen_norm=True,
        weights='IMAGENET1K_V1',
    ),
    neck=dict(in_channels=[160, 960], num_outs=3),
    rpn_head=dict(
        anchor_generator=dict(
            scales=[1, 2, 4, 8, 16],  # times the base size: 32 to 512 px on each level
            strides=[32, 32, 64],
            base_sizes=[32, 32, 32],
        ),
    ),
    roi_head=dict(bbox_roi_extractor=dict(featmap_strides=[32])),
)
train_cfg = dict(max_epochs=26)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', by_epoch=True, milestones=[16, 22], gamma=0.1),
]
