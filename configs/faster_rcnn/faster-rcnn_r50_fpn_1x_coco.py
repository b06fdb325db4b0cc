# Faster R-CNN R50-FPN on COCO 2017 in data/coco, the standard 1x schedule.
#   bash tools/dist_train.sh configs/faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py 8
# Published elsewhere with these hyper-parameters: box AP 37.4 (mmdet). Not run here.
_base_ = [
    '../_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]
