# Data of one's own, on a CPU: MobileNetV2 with a narrow feature pyramid, and ImageNet
# weights that torchvision offers (14 MB, fetched once). A base of what `mmfrcnn new`
# writes.
_base_ = './r50.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='TorchvisionBackbone',
        name='mobilenet_v2',
        out_nodes=['features.3', 'features.6', 'features.13', 'features.18'],
        frozen_node='features.3',  # the first four blocks
        frozen_norm=True,
        weights='IMAGENET1K_V1',
    ),
    neck=dict(in_channels=[24, 32, 96, 1280], out_channels=128),
    rpn_head=dict(in_channels=128, feat_channels=128),
    roi_head=dict(
        bbox_roi_extractor=dict(roi_layer=dict(sampling_ratio=2), out_channels=128),
        bbox_head=dict(in_channels=128),
    ),
    train_cfg=dict(rcnn=dict(sampler=dict(num=256))),
    test_cfg=dict(rpn=dict(max_per_img=500)),
)
custom_hooks = [dict(type='PreflightHook'), dict(type='ChannelsLastHook')]
