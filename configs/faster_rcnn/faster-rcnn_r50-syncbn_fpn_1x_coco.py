# Faster R-CNN R50-FPN on COCO, batch norm trained over all processes.
#   bash tools/dist_train.sh configs/faster_rcnn/faster-rcnn_r50-syncbn_fpn_1x_coco.py 8
# No published figure is known. Not trained here.
_base_ = './faster-rcnn_r50_fpn_1x_coco.py'
norm = dict(type='SyncBN', requires_grad=True)
model = dict(
    backbone=dict(norm_cfg=norm, norm_eval=False),
    neck=dict(norm_cfg=norm),
    roi_head=dict(bbox_head=dict(type='Shared4Conv1FCBBoxHead', norm_cfg=norm)),
)
