# Faster R-CNN R50-FPN in caffe's style on COCO.
#   bash tools/dist_train.sh configs/faster_rcnn/faster-rcnn_r50-caffe_fpn_1x_coco.py 8
# Published elsewhere: box AP 37.8 (mmdet). Not trained here.
_base_ = [
    '../_base_/models/faster-rcnn_r50-caffe_fpn.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]
