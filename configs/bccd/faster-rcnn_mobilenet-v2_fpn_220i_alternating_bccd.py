# The budget of 220 iterations in the four steps of alternating training: 55 each.
#   python tools/train.py \
#       configs/bccd/faster-rcnn_mobilenet-v2_fpn_220i_alternating_bccd.py
_base_ = './faster-rcnn_mobilenet-v2_fpn_220i_bccd.py'
model = dict(type='AlternatingFasterRCNN')
train_cfg = dict(
    _delete_=True,
    type='AlternatingTrainLoop',
    rpn=dict(max_iters=55),
    rcnn=dict(max_iters=55),
)
# Each step warms up within 16 iterations; with the others' 0.02, step 2 diverges.
param_scheduler = [dict(type='OneCycleLR', eta_max=0.01, by_epoch=False)]
log_processor = dict(type='StepLogProcessor')
