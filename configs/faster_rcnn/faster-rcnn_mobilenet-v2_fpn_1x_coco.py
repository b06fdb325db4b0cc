# Faster R-CNN MobileNetV2-FPN on COCO.
#   bash tools/dist_train.sh \
#     configs/faster_rcnn/faster-rcnn_mobilenet-v2_fpn_1x_coco.py 8
# No published figure is known. Not trained here.
_base_ = './faster-rcnn_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='TorchvisionBackbone',
        name='mobilenet_v2',
        out_nodes=['features.3', 'features.6', 'features.13', 'features.18'],
        frozen_node='features.3',
        frozen_norm=True,
        weights='IMAGENET1K_V1',
    ),
    neck=dict(in_channels=[24, 32, 96, 1280]),
)
