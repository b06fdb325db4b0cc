# Faster R-CNN with torchvision's Swin-T and FPN on COCO.
#   bash tools/dist_train.sh \
#     configs/faster_rcnn/faster-rcnn_swin-t_fpn_adamw_ms-3x_coco.py 8
# No published figure is known. Not trained here.
_base_ = './faster-rcnn_convnext-tiny_fpn_adamw_ms-3x_coco.py'
model = dict(backbone=dict(name='swin_t'))
