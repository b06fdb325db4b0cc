# Faster R-CNN R50-FPN on COCO, 24 epochs.
#   bash tools/dist_train.sh configs/faster_rcnn/faster-rcnn_r50_fpn_2x_coco.py 8
# Published elsewhere: box AP 38.4 (mmdet). Not trained here.
_base_ = [
    '../_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_2x.py',
    '../_base_/default_runtime.py',
]
