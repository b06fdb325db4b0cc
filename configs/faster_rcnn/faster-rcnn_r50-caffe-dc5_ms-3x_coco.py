# Faster R-CNN R50-DC5 on COCO at many sizes.
#   bash tools/dist_train.sh \
#     configs/faster_rcnn/faster-rcnn_r50-caffe-dc5_ms-3x_coco.py 8
# Published elsewhere: box AP 38.7 (mmdet). Not trained here.
_base_ = [
    '../_base_/models/faster-rcnn_r50-caffe_dc5.py',
    '../_base_/datasets/coco_ms_detection.py',
    '../_base_/schedules/schedule_3x.py',
    '../_base_/default_runtime.py',
]
