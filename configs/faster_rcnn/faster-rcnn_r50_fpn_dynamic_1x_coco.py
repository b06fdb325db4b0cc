# Dynamic R-CNN (Zhang et al. 2020) R50-FPN on COCO: IoU threshold and smooth L1 follow
# the proposals as they get better. The RoI head is mmdet's; the other parts ours.
#   bash tools/dist_train.sh \
#     configs/faster_rcnn/faster-rcnn_r50_fpn_dynamic_1x_coco.py 8
# Published elsewhere: box AP 38.9 (mmdet). Not trained here.
_base_ = './faster-rcnn_r50_fpn_1x_coco.py'
model = dict(
    roi_head=dict(
        type='DynamicRoIHead',
        bbox_head=dict(
            loss_bbox=dict(
                _delete_=True, type='SmoothL1Loss', beta=1.0, loss_weight=1.0
            )
        ),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms=dict(iou_threshold=0.85)),
        rcnn=dict(
            dynamic_rcnn=dict(
                iou_topk=75,
                beta_topk=10,
                update_iter_interval=100,
                initial_iou=0.4,
                initial_beta=1.0,
            )
        ),
    ),
    test_cfg=dict(rpn=dict(nms=dict(iou_threshold=0.85))),
)
