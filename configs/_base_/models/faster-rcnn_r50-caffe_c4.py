# R50-C4 (He et al. 2016): features and anchors at stride 16, the network's fifth stage
# runs on every region.
_base_ = './faster-rcnn_r50-caffe_fpn.py'
weights = 'open-mmlab://detectron2/resnet50_caffe'
model = dict(
    backbone=dict(
        num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,)
    ),
    neck=None,
    rpn_head=dict(
        in_channels=1024,
        feat_channels=1024,
        anchor_generator=dict(scales=[2, 4, 8, 16, 32], strides=[16]),  # 32 to 512 px
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(
            roi_layer=dict(output_size=14), out_channels=1024, featmap_strides=[16]
        ),
        shared_head=dict(
            type='ResLayer',
            depth=50,
            stage=3,
            stride=2,
            style='caffe',
            norm_cfg=dict(type='BN', requires_grad=False),
            norm_eval=True,
            init_cfg=dict(type='Pretrained', checkpoint=weights),
        ),
        bbox_head=dict(
            _delete_=True,
            type='BBoxHead',
            with_avg_pool=True,
            in_channels=2048,
            roi_feat_size=7,
            num_classes=80,
            bbox_coder=dict(
                type='DeltaXYWHBBoxCoder',
                target_means=[0.0, 0.0, 0.0, 0.0],
                target_stds=[0.1, 0.1, 0.2, 0.2],
            ),
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
            loss_bbox=dict(type='L1Loss', loss_weight=1.0),
        ),
    ),
    train_cfg=dict(rpn_proposal=dict(nms_pre=12000, max_per_img=2000)),
    test_cfg=dict(rpn=dict(nms_pre=6000)),
)
