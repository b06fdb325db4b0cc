# The budget of 220 iterations, the second stage trained on the regions of largest loss
# (online hard example mining, Shrivastava et al. 2016) in place of a random sample.
#   python tools/train.py configs/bccd/faster-rcnn_mobilenet-v2_fpn_220i_ohem_bccd.py
_base_ = './faster-rcnn_mobilenet-v2_fpn_220i_bccd.py'
model = dict(train_cfg=dict(rcnn=dict(sampler=dict(type='OHEMSampler'))))
# At the others' .02 it diverges in one run of two.
param_scheduler = [dict(type='OneCycleLR', eta_max=0.01, by_epoch=False, end=220)]
