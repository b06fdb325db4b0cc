# detectron2's R50-C4: its arithmetic from the picture to the boxes.
#   python tools/convert_weights.py --from detectron2 model_final.pkl OUT.pth
#   python tools/test.py configs/detectron2/faster-rcnn_r50_c4_coco.py OUT.pth
# Published elsewhere: box AP 35.7 (1x), 38.4 (3x) (detectron2). Not measured here.
_base_ = [
    '../_base_/models/faster-rcnn_r50-caffe_c4.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]

model = dict(
    data_preprocessor=dict(pad_size_divisor=1),
    # Sizes before ratios, as the channels of its weights are ordered.
    rpn_head=dict(anchor_generator=dict(scale_major=False)),
    test_cfg=dict(rcnn=dict(min_bbox_size=1e-6)),  # no empty boxes
)

# detectron2 resizes with Pillow, which smooths where it makes smaller.
resize = dict(type='Resize', scale=(1333, 800), keep_ratio=True, backend='pillow')
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
