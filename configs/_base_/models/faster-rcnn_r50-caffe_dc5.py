# R50-DC5 (Dai et al. 2017): all five stages, the last with stride 1 and dilation 2, so
# that its 2048 channels come at stride 16.
_base_ = './faster-rcnn_r50-caffe_fpn.py'
model = dict(
    backbone=dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2), out_indices=(3,)),
    neck=None,
    rpn_head=dict(
        in_channels=2048,
        feat_channels=2048,
        anchor_generator=dict(scales=[2, 4, 8, 16, 32], strides=[16]),  # 32 to 512 px
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=2048, featmap_strides=[16]),
        bbox_head=dict(in_channels=2048),
    ),
    train_cfg=dict(
        rpn=dict(allowed_border=0),
        rpn_proposal=dict(nms_pre=12000, max_per_img=2000),
    ),
    test_cfg=dict(rpn=dict(nms_pre=6000)),
)
