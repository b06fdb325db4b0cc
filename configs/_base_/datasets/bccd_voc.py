# BCCD: blood cells under a microscope, 640x480, Pascal VOC XML, three classes.
_base_ = './detection.py'
dataset_type = 'VocXmlDataset'
data_root = 'data/bccd'
metainfo = dict(
    classes=('RBC', 'WBC', 'Platelets'),
    palette=[(220, 60, 60), (70, 90, 220), (40, 160, 90)],
)
image_scale = (400, 300)  # width, height

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=image_scale, keep_ratio=True),
    # A blood smear has no upright.
    dict(
        type='RandomFlip', prob=0.75, direction=['horizontal', 'vertical', 'diagonal']
    ),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    *_base_.test_pipeline[:1],
    dict(type='Resize', scale=image_scale, keep_ratio=True),
    *_base_.test_pipeline[2:-1],
    # The ground truth goes with the image, and CocoMetric evaluates against that.
    dict(
        type='PackDetInputs',
        meta_keys=(*_base_.test_pipeline[-1].meta_keys, 'instances'),
    ),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Main/trainval.txt',
        data_prefix=dict(sub_data_root=''),
        metainfo=metainfo,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=1,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Main/test.txt',
        data_prefix=dict(sub_data_root=''),
        metainfo=metainfo,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='CocoMetric', metric='bbox')
test_evaluator = val_evaluator
