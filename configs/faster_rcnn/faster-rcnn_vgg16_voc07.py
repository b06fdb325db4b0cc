# Faster R-CNN with VGG-16 as in the paper, on Pascal VOC 2007: trainval to test.
#   bash tools/dist_train.sh configs/faster_rcnn/faster-rcnn_vgg16_voc07.py 8
# Published elsewhere: mAP 69.9 (the paper, 4-step alternating training). Not trained
# here.
_base_ = [
    '../_base_/models/faster-rcnn_vgg16.py',
    '../_base_/datasets/voc07.py',
    '../_base_/schedules/schedule_paper.py',
    '../_base_/default_runtime.py',
]
