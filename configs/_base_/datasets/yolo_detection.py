# A folder in YOLO's format in data/yolo: images/{train,val}, labels/{train,val}, and
# data.yaml or classes.txt, which names the classes.
_base_ = './detection.py'
dataset_type = 'YoloDataset'
data_root = 'data/yolo/'

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
        data_prefix=dict(img='images/train'),
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img='images/val'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='CocoMetric', metric='bbox')
test_evaluator = val_evaluator
