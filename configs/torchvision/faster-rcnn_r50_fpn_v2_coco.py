# torchvision's fasterrcnn_resnet50_fpn_v2: batch norms in pyramid and head, four
# convolutions in the head, two in the RPN.
#   python tools/convert_weights.py --from torchvision IN.pth OUT.pth
#   python tools/test.py configs/torchvision/faster-rcnn_r50_fpn_v2_coco.py OUT.pth
# Published elsewhere: box AP 46.7 (torchvision). Not measured here.
_base_ = './faster-rcnn_r50_fpn_coco.py'

batch_norm = dict(type='BN', requires_grad=True)
model = dict(
    backbone=dict(norm_cfg=dict(eps=1e-5, requires_grad=True)),
    neck=dict(norm_cfg=batch_norm),
    rpn_head=dict(num_convs=2),
    roi_head=dict(bbox_head=dict(type='Shared4Conv1FCBBoxHead', norm_cfg=batch_norm)),
)
