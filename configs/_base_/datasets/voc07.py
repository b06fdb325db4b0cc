# Pascal VOC 2007 in data/VOCdevkit: trains on trainval, evaluates on test by the rules
# of 2007 (11 points). Short side 600, long side at most 1000, as in the paper.
_base_ = './detection.py'
dataset_type = 'VocXmlDataset'
data_root = 'data/VOCdevkit/'
metainfo = dict(
    classes=(
        'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat',
        'chair', 'cow', 'diningtable', 'dog', 'horse', 'motorbike', 'person',
        'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor',
    ),
    palette='voc',
)  # fmt: skip

train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='Resize', scale=(1000, 600), keep_ratio=True),
    *_base_.train_pipeline[3:],
]
test_pipeline = [
    *_base_.test_pipeline[:1],
    dict(type='Resize', scale=(1000, 600), keep_ratio=True),
    *_base_.test_pipeline[2:],
]

train_dataloader = dict(
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='VOC2007/ImageSets/Main/trainval.txt',
        data_prefix=dict(sub_data_root='VOC2007/'),
        metainfo=metainfo,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='VOC2007/ImageSets/Main/test.txt',
        data_prefix=dict(sub_data_root='VOC2007/'),
        metainfo=metainfo,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='PascalVocMetric', eval_mode='11points')
test_evaluator = val_evaluator
