# Cascade Mask R-CNN R50-FPN on COCO.
#   bash tools/dist_train.sh configs/cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py 8
# Published elsewhere: box AP 41.2, masks 35.9 (mmdet). Not trained here.
_base_ = [
    '../_base_/models/cascade-mask-rcnn_r50_fpn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]
