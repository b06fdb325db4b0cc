# Cascade R-CNN R101-FPN on COCO.
#   bash tools/dist_train.sh configs/cascade_rcnn/cascade-rcnn_r101_fpn_1x_coco.py 8
# Published elsewhere: box AP 42.0 (mmdet). Not trained here.
_base_ = './cascade-rcnn_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101'))
)
