# The paper's own training on Pascal VOC 2007: VGG-16, four steps (Ren et al. 2015).
#   python tools/train.py configs/alternating/faster-rcnn_vgg16_alternating_voc07.py
# Published elsewhere: mAP 69.9 (the paper). Not trained here.
_base_ = '../faster_rcnn/faster-rcnn_vgg16_voc07.py'
model = dict(type='AlternatingFasterRCNN')

# The RPN sees one image an iteration, as in the paper: 60000 at a rate of 0.001, 20000
# at a tenth. Fast R-CNN has half as many, as in its authors' code.
train_dataloader = dict(batch_size=1)
train_cfg = dict(
    _delete_=True,
    type='AlternatingTrainLoop',
    rpn=dict(max_iters=80000),
    rcnn=dict(
        max_iters=40000,
        param_scheduler=[
            dict(type='MultiStepLR', by_epoch=False, milestones=[30000], gamma=0.1)
        ],
    ),
)
param_scheduler = [
    dict(type='MultiStepLR', by_epoch=False, milestones=[60000], gamma=0.1)
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=2000))
log_processor = dict(type='StepLogProcessor', by_epoch=False)
