# COCO 2017 with large scale jitter (Ghiasi et al. 2021): a training image is resized to
# 0.1 to 2 times what fits 1024 px, and cropped to that.
_base_ = './coco_detection.py'
image_size = (1024, 1024)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='RandomResize',
        scale=image_size,
        ratio_range=(0.1, 2.0),
        keep_ratio=True,
    ),
    dict(
        type='RandomCrop',
        crop_type='absolute',
        crop_size=image_size,
        allow_negative_crop=True,
    ),
    # What the crop left of an object may have no area.
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
