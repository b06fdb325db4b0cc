# detectron2's R50-C4: its arithmetic from the picture to the boxes.
#   python tools/convert_weights.py --from detectron2 model_final.pkl OUT.pth
#   python tools/test.py configs/detectron2/faster-rcnn_r50_c4_coco.py OUT.pth
# Published elsewhere: box AP 35.7 (1x), 38.4 (3x) (detectron2). Not measured here.
_base_ = [
    '../_base_/models/faster-rcnn_r50-caffe_c4.py',
    '../_base_/datasets/coco_detectron2.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]

model = dict(
    data_preprocessor=dict(pad_size_divisor=1),
    # Sizes before ratios, as the channels of its weights are ordered.
    rpn_head=dict(anchor_generator=dict(scale_major=False)),
    test_cfg=dict(rcnn=dict(min_bbox_size=1e-6)),  # no empty boxes
)
