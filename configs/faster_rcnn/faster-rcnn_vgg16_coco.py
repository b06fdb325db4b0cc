# Faster R-CNN with VGG-16 as in the paper, on COCO, with what it changes for COCO.
#   bash tools/dist_train.sh configs/faster_rcnn/faster-rcnn_vgg16_coco.py 8
# Published elsewhere: box AP 21.9, AP50 42.7 (the paper, trainval to test-dev). Not
# trained here.
_base_ = [
    '../_base_/models/faster-rcnn_vgg16.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_paper.py',
    '../_base_/default_runtime.py',
]

model = dict(
    # A fourth size for small objects, 64 px: 12 anchors.
    rpn_head=dict(anchor_generator=dict(scales=[4, 8, 16, 32])),
    roi_head=dict(bbox_head=dict(num_classes=80)),
    # All that is no object is background.
    train_cfg=dict(rcnn=dict(assigner=dict(neg_iou_thr=0.5))),
)

# Short side 600, long side at most 1000.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(1000, 600), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1000, 600), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

# 240000 iterations of 8 images at 0.003 and 80000 at a tenth, in epochs of COCO's.
train_cfg = dict(max_epochs=22)
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[16], gamma=0.1)]
optim_wrapper = dict(optimizer=dict(lr=0.003))
auto_scale_lr = dict(base_batch_size=8)
