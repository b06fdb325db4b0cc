# Pascal VOC 2007 and 2012 in data/VOCdevkit: trains on both trainvals, evaluates on the
# test set of 2007.
_base_ = 'voc07.py'

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            dict(
                type=_base_.dataset_type,
                data_root=_base_.data_root,
                ann_file=f'VOC{year}/ImageSets/Main/trainval.txt',
                data_prefix=dict(sub_data_root=f'VOC{year}/'),
                metainfo=_base_.metainfo,
                filter_cfg=dict(filter_empty_gt=False),
                pipeline=_base_.train_pipeline,
            )
            for year in (2007, 2012)
        ],
    ),
)
