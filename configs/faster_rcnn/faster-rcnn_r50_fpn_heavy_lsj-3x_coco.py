# Faster R-CNN R50-FPN on COCO with the heavy head: 4conv1fc, two convolutions in the
# RPN, batch norm trained everywhere. The architecture of torchvision's v2 weights,
# which come from a recipe of their own.
#   bash tools/dist_train.sh \
#     configs/faster_rcnn/faster-rcnn_r50_fpn_heavy_lsj-3x_coco.py 8
# Published elsewhere: box AP 46.7 (torchvision, v2 weights of another recipe). Not
# trained here.
_base_ = [
    '../_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/coco_lsj_detection.py',
    '../_base_/schedules/schedule_3x.py',
    '../_base_/default_runtime.py',
]

batch_norm = dict(type='BN', requires_grad=True)
model = dict(
    backbone=dict(
        frozen_stages=-1,
        norm_eval=False,
        init_cfg=dict(checkpoint='torchvision://resnet50.imagenet1k_v2'),
    ),
    neck=dict(norm_cfg=batch_norm),
    rpn_head=dict(num_convs=2),
    roi_head=dict(bbox_head=dict(type='Shared4Conv1FCBBoxHead', norm_cfg=batch_norm)),
)
train_dataloader = dict(batch_size=4)  # images a device: batch norm learns from them
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=0.0001, weight_decay=0.1),
    paramwise_cfg=dict(norm_decay_mult=0.0, bypass_duplicate=True),
)
