# Faster R-CNN with VGG-16 as in the paper, on Pascal VOC 2007 and 2012.
#   bash tools/dist_train.sh configs/faster_rcnn/faster-rcnn_vgg16_voc0712.py 8
# Published elsewhere: mAP 73.2 (the paper, 4-step alternating training). Not trained
# here.
_base_ = [
    '../_base_/models/faster-rcnn_vgg16.py',
    '../_base_/datasets/voc0712.py',
    '../_base_/schedules/schedule_paper.py',
    '../_base_/default_runtime.py',
]

# 80000 and 30000 images, as in the authors' code, in epochs of these 16551.
train_cfg = dict(max_epochs=7, val_interval=1)
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[5], gamma=0.1)]
