# Faster R-CNN with torchvision's ConvNeXt-Tiny and FPN on COCO.
#   bash tools/dist_train.sh \
#     configs/faster_rcnn/faster-rcnn_convnext-tiny_fpn_adamw_ms-3x_coco.py 8
# No published figure is known. Not trained here.
_base_ = './faster-rcnn_r50_fpn_ms-3x_coco.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='TorchvisionBackbone',
        name='convnext_tiny',
        out_nodes=['features.1', 'features.3', 'features.5', 'features.7'],
        frozen_norm=False,
        weights='IMAGENET1K_V1',
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=0.0001, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bypass_duplicate=True),
)
