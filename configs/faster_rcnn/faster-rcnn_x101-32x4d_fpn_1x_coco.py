# Faster R-CNN with ResNeXt-101 32x4d and FPN on COCO.
#   bash tools/dist_train.sh configs/faster_rcnn/faster-rcnn_x101-32x4d_fpn_1x_coco.py 8
# Published elsewhere: box AP 41.2 (mmdet). Not trained here.
_base_ = './faster-rcnn_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        type='ResNeXt',
        depth=101,
        groups=32,
        base_width=4,
        init_cfg=dict(checkpoint='open-mmlab://resnext101_32x4d'),
    )
)
