# Faster R-CNN as in the paper (Ren et al. 2015): VGG-16 up to conv5_3 at stride 16, 9
# anchors a cell, objectness by softmax over two scores, RoIPool, fc6 and fc7. What the
# paper leaves open is as in its authors' code.
_base_ = './faster-rcnn_r50_fpn.py'
weights = 'IMAGENET1K_V1'
model = dict(
    backbone=dict(
        _delete_=True,
        type='TorchvisionBackbone',
        name='vgg16',
        out_nodes=['features.29'],  # conv5_3 and its ReLU
        frozen_node='features.9',  # conv1_1 to conv2_2
        weights=weights,
    ),
    neck=None,
    rpn_head=dict(
        in_channels=512,
        feat_channels=512,
        anchor_generator=dict(
            scales=[8, 16, 32],  # times the stride: 128, 256 and 512 px
            ratios=[0.5, 1.0, 2.0],
            strides=[16],
        ),
        loss_cls=dict(use_sigmoid=False),
        # Averaged over the 256 samples; the paper's 10 / 2400 locations is about that.
        loss_bbox=dict(type='SmoothL1Loss', beta=1 / 9, loss_weight=1.0),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(
            roi_layer=dict(_delete_=True, type='RoIPool', output_size=7),
            out_channels=512,
            featmap_strides=[16],
        ),
        bbox_head=dict(
            _delete_=True,
            type='VGGBBoxHead',
            name='vgg16',
            weights=weights,  # fc6 and fc7
            dropout=0.5,
            num_classes=20,
            loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
        ),
    ),
    train_cfg=dict(
        # Anchors that cross the image's border are ignored.
        rpn=dict(allowed_border=0),
        rpn_proposal=dict(nms_pre=12000, max_per_img=2000),
        rcnn=dict(
            # Background overlaps an object a little, from 0.1 on: a kind of mining.
            assigner=dict(neg_iou_thr=(0.1, 0.5)),
            sampler=dict(num=128),
        ),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=6000, max_per_img=300),
        rcnn=dict(nms=dict(iou_threshold=0.3)),
    ),
)
