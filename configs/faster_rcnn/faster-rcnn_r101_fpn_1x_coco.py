# Faster R-CNN R101-FPN on COCO.
#   bash tools/dist_train.sh configs/faster_rcnn/faster-rcnn_r101_fpn_1x_coco.py 8
# Published elsewhere: box AP 39.4 (mmdet). Not trained here.
_base_ = './faster-rcnn_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101'))
)
