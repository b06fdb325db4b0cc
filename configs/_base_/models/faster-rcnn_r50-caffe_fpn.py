# R50-FPN in caffe's style: stride in a block's first 1x1 convolution, BGR images less
# their mean, batch norm fixed altogether. For weights of Detectron's kind.
_base_ = './faster-rcnn_r50_fpn.py'
model = dict(
    data_preprocessor=dict(
        mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False
    ),
    backbone=dict(
        norm_cfg=dict(requires_grad=False),
        style='caffe',
        init_cfg=dict(checkpoint='open-mmlab://detectron2/resnet50_caffe'),
    ),
)
