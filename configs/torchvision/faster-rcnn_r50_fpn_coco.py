# torchvision's fasterrcnn_resnet50_fpn: its arithmetic from the picture to the boxes.
#   python tools/convert_weights.py --from torchvision IN.pth OUT.pth
#   python tools/test.py configs/torchvision/faster-rcnn_r50_fpn_coco.py OUT.pth
# Published elsewhere: box AP 37.0 (torchvision). Not measured here.
_base_ = [
    '../_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]

model = dict(
    # Of the published weights, which were trained without (torch 2.10 refuses 0 itself,
    # and beside a variance this is nothing); 1e-5 for models of your own.
    backbone=dict(norm_cfg=dict(type='BN', eps=1e-30, requires_grad=False)),
    data_preprocessor=dict(  # torchvision's mean and deviation, of values up to 255
        mean=[0.485 * 255, 0.456 * 255, 0.406 * 255],
        std=[0.229 * 255, 0.224 * 255, 0.225 * 255],
    ),
    rpn_head=dict(anchor_generator=dict(type='TorchvisionAnchorGenerator')),
    roi_head=dict(
        bbox_roi_extractor=dict(
            roi_layer=dict(sampling_ratio=2, aligned=False),
        ),
        # COCO numbers 90 categories, ten of them unused, and so does torchvision.
        bbox_head=dict(
            cls_predictor_cfg=dict(type='LinearWithUnusedClasses', num_unused=10)
        ),
    ),
    test_cfg=dict(rpn=dict(min_bbox_size=1e-3), rcnn=dict(min_bbox_size=1e-2)),
)

resize = dict(type='TorchvisionResize', scale=(1333, 800), keep_ratio=True)
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
