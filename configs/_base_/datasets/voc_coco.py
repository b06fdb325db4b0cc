# Pascal VOC 2007 as voc07.py has it, evaluated by COCO's metrics.
_base_ = 'voc07.py'

meta_keys = (*_base_.test_pipeline[-1].meta_keys, 'instances')  # the ground truth
test_pipeline = [
    *_base_.test_pipeline[:-1],
    dict(type='PackDetInputs', meta_keys=meta_keys),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(_delete_=True, type='CocoMetric', metric='bbox')
test_evaluator = val_evaluator
