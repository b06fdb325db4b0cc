# Faster R-CNN R101-C4 on COCO at many sizes.
#   bash tools/dist_train.sh \
#     configs/faster_rcnn/faster-rcnn_r101-caffe-c4_ms-3x_coco.py 8
# Published elsewhere: box AP 41.1 (detectron2). Not trained here.
_base_ = './faster-rcnn_r50-caffe-c4_ms-3x_coco.py'
weights = 'open-mmlab://detectron2/resnet101_caffe'
model = dict(
    backbone=dict(depth=101, init_cfg=dict(checkpoint=weights)),
    roi_head=dict(shared_head=dict(depth=101, init_cfg=dict(checkpoint=weights))),
)
