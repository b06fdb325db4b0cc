# Images in data/table/images and their boxes in train.csv and val.csv, with the columns
# filename, xmin, ymin, xmax, ymax, label. The classes are the labels that occur.
_base_ = './own_detection.py'
dataset_type = 'CsvDataset'
data_root = 'data/table/'

train_dataloader = dict(
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
    ),
)
test_dataloader = val_dataloader
