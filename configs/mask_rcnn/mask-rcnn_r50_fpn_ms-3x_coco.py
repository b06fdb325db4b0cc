# Mask R-CNN R50-FPN on COCO at many sizes.
#   bash tools/dist_train.sh configs/mask_rcnn/mask-rcnn_r50_fpn_ms-3x_coco.py 8
# Published elsewhere: box AP 40.9, masks 37.1 (mmdet). Not trained here.
_base_ = [
    '../_base_/models/mask-rcnn_r50_fpn.py',
    '../_base_/datasets/coco_ms_instance.py',
    '../_base_/schedules/schedule_3x.py',
    '../_base_/default_runtime.py',
]
