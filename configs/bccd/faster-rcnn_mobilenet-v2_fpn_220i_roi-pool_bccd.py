# The budget of 220 iterations with RoIPool in place of RoIAlign.
#   python tools/train.py \
#       configs/bccd/faster-rcnn_mobilenet-v2_fpn_220i_roi-pool_bccd.py
_base_ = './faster-rcnn_mobilenet-v2_fpn_220i_bccd.py'
pool = dict(_delete_=True, type='RoIPool', output_size=7)
model = dict(roi_head=dict(bbox_roi_extractor=dict(roi_layer=pool)))
