# LVIS v1 in data/lvis_v1, or another large vocabulary in its format: images of rare
# classes are shown more often. Needs the package lvis.
_base_ = './detection.py'
dataset_type = 'LVISV1Dataset'
data_root = 'data/lvis_v1/'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='RandomChoiceResize',
        scales=[(1333, short) for short in (640, 672, 704, 736, 768, 800)],
        keep_ratio=True,
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]

train_dataloader = dict(
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        _delete_=True,
        type='ClassBalancedDataset',
        oversample_thr=1e-3,
        dataset=dict(
            type=dataset_type,
            data_root=data_root,
            ann_file='annotations/lvis_v1_train.json',
            data_prefix=dict(img=''),
            filter_cfg=dict(filter_empty_gt=False),
            pipeline=train_pipeline,
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/lvis_v1_val.json',
        data_prefix=dict(img=''),
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(
    type='LvisMetric',
    ann_file=data_root + 'annotations/lvis_v1_val.json',
    metric='bbox',
)
test_evaluator = val_evaluator
