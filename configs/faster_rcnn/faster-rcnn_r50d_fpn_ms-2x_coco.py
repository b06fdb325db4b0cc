# Faster R-CNN with timm's ResNet-50-D and FPN on COCO at many sizes, each stage of the
# network at a rate of its own: PaddleDetection's recipe for a ResNet-50-vd.
#   pip install "mmfrcnn[timm]"
#   bash tools/dist_train.sh configs/faster_rcnn/faster-rcnn_r50d_fpn_ms-2x_coco.py 8
# Published elsewhere: box AP 42.3 (PaddleDetection, from distilled ImageNet weights,
# SSLD v2, which timm has not): configs/faster_rcnn/README.md there, and beside it
# faster_rcnn_r50_vd_fpn_ssld_2x_coco.yml. Not trained here.
_base_ = [
    '../_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/coco_ms_detection.py',
    '../_base_/schedules/schedule_2x.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(
        _delete_=True,
        type='TimmBackbone',
        name='resnet50d',
        out_indices=(1, 2, 3, 4),
        frozen_stages=1,  # its freeze_at=0 fixes the stem and the first stage
        frozen_norm=True,
        init_cfg=dict(type='Pretrained', checkpoint='timm://resnet50d.ra2_in1k'),
    ),
)
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            'backbone.layer1': dict(lr_mult=0.05),  # for those who train it too
            'backbone.layer2': dict(lr_mult=0.05),
            'backbone.layer3': dict(lr_mult=0.1),
            'backbone.layer4': dict(lr_mult=0.15),
        }
    )
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=500),
    dict(
        type='MultiStepLR',
        begin=0,
        end=24,
        by_epoch=True,
        milestones=[12, 22],
        gamma=0.1,
    ),
]
