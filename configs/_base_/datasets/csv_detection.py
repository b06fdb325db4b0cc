# Images in data/table/images and their boxes in train.csv and val.csv, with the columns
# filename, xmin, ymin, xmax, ymax, label. The classes are the labels that occur.
_base_ = './detection.py'
dataset_type = 'CsvDataset'
data_root = 'data/table/'

# The ground truth goes with the image, and CocoMetric evaluates against that.
test_pipeline = [
    *_base_.test_pipeline[:-1],
    dict(
        type='PackDetInputs',
        meta_keys=(*_base_.test_pipeline[-1].meta_keys, 'instances'),
    ),
]

train_dataloader = dict(
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='train.csv',
        data_prefix=dict(img='images/'),
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='val.csv',
        data_prefix=dict(img='images/'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='CocoMetric', metric='bbox')
test_evaluator = val_evaluator
