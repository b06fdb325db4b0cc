# A folder in YOLO's format in data/yolo: images/{train,val}, labels/{train,val}, and
# data.yaml or classes.txt, which names the classes.
_base_ = './own_detection.py'
dataset_type = 'YoloDataset'
data_root = 'data/yolo/'

train_dataloader = dict(
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
    ),
)
test_dataloader = val_dataloader
