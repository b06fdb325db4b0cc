# detectron2's R50-FPN: its arithmetic from the picture to the boxes.
#   python tools/convert_weights.py --from detectron2 model_final.pkl OUT.pth
#   python tools/test.py configs/detectron2/faster-rcnn_r50_fpn_coco.py OUT.pth
# Published elsewhere: box AP 37.9 (1x), 40.2 (3x) (detectron2). Not measured here.
_base_ = [
    '../_base_/models/faster-rcnn_r50-caffe_fpn.py',
    '../_base_/datasets/coco_detectron2.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]

model = dict(
    test_cfg=dict(rcnn=dict(min_bbox_size=1e-6)),  # no empty boxes
)
