# Mask R-CNN R101-FPN on COCO.
#   bash tools/dist_train.sh configs/mask_rcnn/mask-rcnn_r101_fpn_1x_coco.py 8
# Published elsewhere: box AP 40.0, masks 36.1 (mmdet). Not trained here.
_base_ = './mask-rcnn_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101'))
)
