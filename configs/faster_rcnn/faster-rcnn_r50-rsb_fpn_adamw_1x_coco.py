# Faster R-CNN R50-FPN on COCO from the ImageNet weights of "ResNet strikes back"
# (Wightman et al. 2021), with AdamW.
#   bash tools/dist_train.sh \
#     configs/faster_rcnn/faster-rcnn_r50-rsb_fpn_adamw_1x_coco.py 8
# Published elsewhere: box AP 40.8 (mmdet). Not trained here.
_base_ = './faster-rcnn_r50_fpn_1x_coco.py'
weights = (
    'https://download.openmmlab.com/mmclassification/v0/resnet/'
    'resnet50_8xb256-rsb-a1-600e_in1k_20211228-20e21305.pth'
)
model = dict(backbone=dict(init_cfg=dict(checkpoint=weights, prefix='backbone.')))
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=0.0002, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bypass_duplicate=True),
)
