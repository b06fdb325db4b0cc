# Faster R-CNN R50-FPN on COCO with group norm everywhere (Wu and He 2018).
#   bash tools/dist_train.sh configs/faster_rcnn/faster-rcnn_r50-gn_fpn_2x_coco.py 8
# No published figure is known. Not trained here.
_base_ = [
    '../_base_/models/faster-rcnn_r50-caffe_fpn.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_2x.py',
    '../_base_/default_runtime.py',
]
group_norm = dict(type='GN', num_groups=32, requires_grad=True)
model = dict(
    backbone=dict(
        norm_cfg=dict(_delete_=True, **group_norm),
        style='pytorch',
        init_cfg=dict(checkpoint='open-mmlab://detectron/resnet50_gn'),
    ),
    neck=dict(norm_cfg=group_norm),
    roi_head=dict(bbox_head=dict(type='Shared4Conv1FCBBoxHead', norm_cfg=group_norm)),
)
