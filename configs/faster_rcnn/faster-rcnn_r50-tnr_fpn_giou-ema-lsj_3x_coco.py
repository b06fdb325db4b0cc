# Faster R-CNN R50-FPN on COCO with all that makes it better at the same inference cost:
# better ImageNet weights, AdamW, large scale jitter, GIoU loss, averaged weights.
#   bash tools/dist_train.sh \
#     configs/faster_rcnn/faster-rcnn_r50-tnr_fpn_giou-ema-lsj_3x_coco.py 8
# No published figure is known. Not trained here.
_base_ = [
    '../_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/coco_lsj_detection.py',
    '../_base_/schedules/schedule_3x.py',
    '../_base_/default_runtime.py',
]

weights = 'torchvision://resnet50.imagenet1k_v2'
model = dict(
    backbone=dict(init_cfg=dict(checkpoint=weights)),
    roi_head=dict(
        bbox_head=dict(
            reg_decoded_bbox=True, loss_bbox=dict(type='GIoULoss', loss_weight=10.0)
        )
    ),
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=0.0001, weight_decay=0.1),
    paramwise_cfg=dict(norm_decay_mult=0.0, bypass_duplicate=True),
)

# Averaged weights are what is evaluated and saved.
custom_hooks = [
    dict(type='PreflightHook'),
    dict(type='EMAHook', momentum=0.0002, update_buffers=True, priority=49),
]
