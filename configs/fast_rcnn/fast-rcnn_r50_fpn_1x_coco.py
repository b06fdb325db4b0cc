# Fast R-CNN on stored proposals, R50-FPN on COCO 2017 (Girshick 2015).
#   python tools/store_proposals.py configs/rpn/rpn_r50_fpn_1x_coco.py RPN.pth \
#       data/coco/proposals_train2017.npz
#   python tools/store_proposals.py configs/rpn/rpn_r50_fpn_1x_coco.py RPN.pth \
#       data/coco/proposals_val2017.npz --split val
#   bash tools/dist_train.sh configs/fast_rcnn/fast-rcnn_r50_fpn_1x_coco.py 8
# Not trained here.
_base_ = '../faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
model = dict(rpn_head=None)  # the proposals come with the images

folder = _base_.data_root
# Train: after the image has been moved. Test: before the ground truth, which is not.
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.train_pipeline[:-1],
            dict(type='LoadStoredProposals', file=folder + 'proposals_train2017.npz'),
            _base_.train_pipeline[-1],
        ]
    )
)
val_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.test_pipeline[:-2],
            dict(type='LoadStoredProposals', file=folder + 'proposals_val2017.npz'),
            *_base_.test_pipeline[-2:],
        ]
    )
)
test_dataloader = val_dataloader
