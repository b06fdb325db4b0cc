# torchvision's fasterrcnn_mobilenet_v3_large_fpn.
#   python tools/convert_weights.py --from torchvision IN.pth OUT.pth
#   python tools/test.py \
#     configs/torchvision/faster-rcnn_mobilenet-v3-large_fpn_coco.py OUT.pth
# Published elsewhere: box AP 32.8 (torchvision). Not measured here.
_base_ = './faster-rcnn_r50_fpn_coco.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='TorchvisionBackbone',
        name='mobilenet_v3_large',
        out_nodes=['features.13', 'features.16'],  # both at stride 32
        frozen_node='features.6',
        frozen_norm=True,
        norm_eps=1e-5,  # in the detector; the classifier has 1e-3
        weights='IMAGENET1K_V1',
    ),
    neck=dict(in_channels=[160, 960], num_outs=3),
    rpn_head=dict(
        anchor_generator=dict(
            scales=[1, 2, 4, 8, 16],  # times the base size: 32 to 512 px on each level
            strides=[32, 32, 64],
            base_sizes=[32, 32, 32],
        ),
    ),
    # torchvision measures both maps as stride 32 and so pools from the first alone.
    roi_head=dict(bbox_roi_extractor=dict(featmap_strides=[32])),
    test_cfg=dict(rpn=dict(score_thr=0.05)),
)
