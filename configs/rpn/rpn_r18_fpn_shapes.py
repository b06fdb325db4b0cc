# The RPN alone on drawn shapes, measured by the average recall of its proposals.
#   python tools/train.py configs/rpn/rpn_r18_fpn_shapes.py
_base_ = '../shapes/faster-rcnn_r18_fpn_shapes.py'
model = dict(
    _delete_=True,
    type='RPN',
    data_preprocessor=_base_.model.data_preprocessor,
    backbone=_base_.model.backbone,
    neck=_base_.model.neck,
    rpn_head=_base_.model.rpn_head,
    train_cfg=_base_.model.train_cfg,
    test_cfg=_base_.model.test_cfg,
)
val_evaluator = dict(
    _delete_=True,
    type='ProposalRecall',
    ann_file=_base_.data_root + 'annotations/instances_val.json',
)
test_evaluator = val_evaluator
