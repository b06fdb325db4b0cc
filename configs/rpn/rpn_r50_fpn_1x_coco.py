# The RPN alone, R50-FPN on COCO 2017; measured by the average recall of its proposals.
#   bash tools/dist_train.sh configs/rpn/rpn_r50_fpn_1x_coco.py 8
# Published elsewhere: AR@1000 .582 (mmdet), .580 (detectron2). Not trained here.
_base_ = '../faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
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
    ann_file=_base_.data_root + 'annotations/instances_val2017.json',
)
test_evaluator = val_evaluator
