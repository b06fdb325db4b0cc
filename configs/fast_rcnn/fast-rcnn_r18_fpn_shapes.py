# Fast R-CNN on stored proposals, on drawn shapes (Girshick 2015). The proposals, first:
#   python tools/train.py configs/rpn/rpn_r18_fpn_shapes.py
#   rpn="configs/rpn/rpn_r18_fpn_shapes.py work_dirs/rpn_r18_fpn_shapes/iter_1300.pth"
#   python tools/store_proposals.py $rpn data/shapes/proposals_train.npz
#   python tools/store_proposals.py $rpn data/shapes/proposals_val.npz --split val
#   python tools/train.py configs/fast_rcnn/fast-rcnn_r18_fpn_shapes.py
_base_ = '../shapes/faster-rcnn_r18_fpn_shapes.py'
model = dict(rpn_head=None)  # the proposals come with the images

folder = _base_.data_root
# Train: after the image has been moved. Test: before the ground truth, which is not.
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.train_pipeline[:-1],
            dict(type='LoadStoredProposals', file=folder + 'proposals_train.npz'),
            _base_.train_pipeline[-1],
        ]
    )
)
val_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.test_pipeline[:-2],
            dict(type='LoadStoredProposals', file=folder + 'proposals_val.npz'),
            *_base_.test_pipeline[-2:],
        ]
    )
)
test_dataloader = val_dataloader
