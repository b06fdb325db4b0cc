# The embedded default with one part of this project in place of mmfrcnn's. In a folder
# of your own, the base is the path to your checkout of mmfrcnn.
_base_ = '../../../configs/shapes/faster-rcnn_r18_fpn_shapes.py'

custom_imports = dict(imports=['mmfrcnn', 'context_roi'], allow_failed_imports=False)

model = dict(
    roi_head=dict(
        bbox_roi_extractor=dict(type='ContextRoIExtractor', context_scale=2.0)
    )
)
