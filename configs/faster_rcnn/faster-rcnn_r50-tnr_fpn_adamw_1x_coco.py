# Faster R-CNN R50-FPN on COCO from torchvision's better ImageNet weights, with AdamW.
#   bash tools/dist_train.sh \
#     configs/faster_rcnn/faster-rcnn_r50-tnr_fpn_adamw_1x_coco.py 8
# Published elsewhere: box AP 40.2 (mmdet). Not trained here.
_base_ = './faster-rcnn_r50_fpn_1x_coco.py'
weights = 'torchvision://resnet50.imagenet1k_v2'
model = dict(backbone=dict(init_cfg=dict(checkpoint=weights)))
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=0.0001, weight_decay=0.1),
    paramwise_cfg=dict(norm_decay_mult=0.0, bypass_duplicate=True),
)
