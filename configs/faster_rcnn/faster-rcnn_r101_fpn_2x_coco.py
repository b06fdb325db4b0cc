# Faster R-CNN R101-FPN on COCO, 24 epochs.
#   bash tools/dist_train.sh configs/faster_rcnn/faster-rcnn_r101_fpn_2x_coco.py 8
# Published elsewhere: box AP 39.8 (mmdet). Not trained here.
_base_ = './faster-rcnn_r50_fpn_2x_coco.py'
model = dict(
    backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101'))
)
