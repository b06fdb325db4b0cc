# Mask R-CNN R50-FPN on COCO.
#   bash tools/dist_train.sh configs/mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py 8
# Published elsewhere: box AP 38.2, masks 34.7 (mmdet). Not trained here.
_base_ = [
    '../_base_/models/mask-rcnn_r50_fpn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]
