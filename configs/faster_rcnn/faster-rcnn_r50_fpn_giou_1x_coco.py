# Faster R-CNN R50-FPN on COCO, boxes refined by the GIoU loss.
#   bash tools/dist_train.sh configs/faster_rcnn/faster-rcnn_r50_fpn_giou_1x_coco.py 8
# Published elsewhere: box AP 37.6 (mmdet). Not trained here.
_base_ = './faster-rcnn_r50_fpn_1x_coco.py'
model = dict(
    roi_head=dict(
        bbox_head=dict(
            reg_decoded_bbox=True, loss_bbox=dict(type='GIoULoss', loss_weight=10.0)
        )
    )
)
