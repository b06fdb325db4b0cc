# detectron2's R101-FPN: its arithmetic from the picture to the boxes.
#   python tools/convert_weights.py --from detectron2 model_final.pkl OUT.pth
#   python tools/test.py configs/detectron2/faster-rcnn_r101_fpn_coco.py OUT.pth
# Published elsewhere: box AP 42.0 (3x) (detectron2). Not measured here.
_base_ = './faster-rcnn_r50_fpn_coco.py'

weights = 'open-mmlab://detectron2/resnet101_caffe'
model = dict(
    backbone=dict(depth=101, init_cfg=dict(checkpoint=weights)),
)
