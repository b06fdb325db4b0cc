# torchvision's fasterrcnn_mobilenet_v3_large_320_fpn: smaller pictures, 150 proposals.
#   python tools/convert_weights.py --from torchvision IN.pth OUT.pth
#   python tools/test.py \
#     configs/torchvision/faster-rcnn_mobilenet-v3-large-320_fpn_coco.py OUT.pth
# Published elsewhere: box AP 22.8 (torchvision). Not measured here.
_base_ = './faster-rcnn_mobilenet-v3-large_fpn_coco.py'

model = dict(test_cfg=dict(rpn=dict(nms_pre=150, max_per_img=150)))

resize = dict(type='TorchvisionResize', scale=(640, 320), keep_ratio=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    resize,
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    resize,
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
