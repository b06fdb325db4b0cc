# Pascal VOC 2012 in data/VOCdevkit: trains on train, evaluates on val by the rules of
# 2010 and later (area under the curve); the annotations of test are not public.
_base_ = 'voc07.py'

train_dataloader = dict(
    dataset=dict(
        ann_file='VOC2012/ImageSets/Main/train.txt',
        data_prefix=dict(sub_data_root='VOC2012/'),
    ),
)
val_dataloader = dict(
    dataset=dict(
        ann_file='VOC2012/ImageSets/Main/val.txt',
        data_prefix=dict(sub_data_root='VOC2012/'),
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(eval_mode='area')
test_evaluator = val_evaluator
