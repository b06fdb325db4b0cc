# Faster R-CNN R101-FPN in caffe's style on COCO.
#   bash tools/dist_train.sh configs/faster_rcnn/faster-rcnn_r101-caffe_fpn_1x_coco.py 8
# Published elsewhere: box AP 39.8 (mmdet). Not trained here.
_base_ = './faster-rcnn_r50-caffe_fpn_1x_coco.py'
weights = 'open-mmlab://detectron2/resnet101_caffe'
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint=weights)))
