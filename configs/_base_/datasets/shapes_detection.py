# Drawn shapes, 320x240, six classes; made in data/shapes on first use.
_base_ = './detection.py'
dataset_type = 'ShapesDataset'
data_root = 'data/shapes/'
batch_size = 8
num_workers = 1

train_pipeline = [*_base_.train_pipeline[:2], *_base_.train_pipeline[3:]]
test_pipeline = [
    *_base_.test_pipeline[:1],
    # Keeps the size; it only notes the scale factor that the packing asks for.
    dict(type='Resize', scale=(320, 240), keep_ratio=True),
    *_base_.test_pipeline[2:],
]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/instances_val.json',
        data_prefix=dict(img='val/'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(
    type='CocoMetric',
    ann_file=data_root + 'annotations/instances_val.json',
    metric='bbox',
)
test_evaluator = val_evaluator
