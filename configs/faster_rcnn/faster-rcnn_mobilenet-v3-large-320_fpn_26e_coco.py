# The same on images of 320 px, for phones and CPUs.
#   bash tools/dist_train.sh \
#     configs/faster_rcnn/faster-rcnn_mobilenet-v3-large-320_fpn_26e_coco.py 8
# Published elsewhere: box AP 22.8 (torchvision). Not trained here.
_base_ = './faster-rcnn_mobilenet-v3-large_fpn_26e_coco.py'
model = dict(test_cfg=dict(rpn=dict(nms_pre=150, max_per_img=150)))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(640, 320), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(640, 320), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
