# What data sets of one's own have in common: the ground truth goes with each image, and
# CocoMetric evaluates against that.
_base_ = './detection.py'
test_pipeline = [
    *_base_.test_pipeline[:-1],
    dict(
        type='PackDetInputs',
        meta_keys=(*_base_.test_pipeline[-1].meta_keys, 'instances'),
    ),
]

train_dataloader = dict(batch_sampler=dict(type='AspectRatioBatchSampler'))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(type='CocoMetric', metric='bbox')
test_evaluator = val_evaluator
