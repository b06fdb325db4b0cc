# Rotation by up to 30 degrees, boxes kept tight: from outlines where there are some.
#   python tools/browse_dataset.py CONFIG --out-dir browse
_base_ = '../faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    # For outlines. Where the annotations have boxes alone: with_bbox=True, no more.
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True, poly2mask=False),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(
        type='TightRotate',
        prob=0.5,
        max_mag=30.0,
        img_border_value=(124, 116, 104),  # the mean colour
    ),
    # Of an object that has left the picture, nothing stays.
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
