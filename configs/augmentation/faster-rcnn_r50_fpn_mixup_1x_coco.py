# MixUp: a second picture laid over the first, half and half.
#   python tools/browse_dataset.py CONFIG --out-dir browse
_base_ = '../faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

image_scale = (800, 800)
inner_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
]
train_pipeline = [
    dict(type='Resize', scale=image_scale, keep_ratio=True),
    dict(type='Pad', size=image_scale, pad_val=dict(img=(114, 114, 114))),
    dict(type='MixUp', img_scale=image_scale, ratio_range=(0.8, 1.6), pad_val=114.0),
    # What is left of an object may have no area.
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='MultiImageMixDataset',
        dataset=dict(
            type=_base_.dataset_type,
            data_root=_base_.data_root,
            ann_file='annotations/instances_train2017.json',
            data_prefix=dict(img='train2017/'),
            filter_cfg=dict(filter_empty_gt=False),
            pipeline=inner_pipeline,
        ),
        pipeline=train_pipeline,
    ),
)
