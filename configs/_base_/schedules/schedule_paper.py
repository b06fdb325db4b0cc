# The paper's for VOC 2007: 60000 images at a rate of 0.001 and 20000 at a tenth of it,
# one image an iteration; in epochs of its 5011 images.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=16, val_interval=4)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[12], gamma=0.1)]

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.001, momentum=0.9, weight_decay=0.0005),
)

# The rate is for this many images an iteration; it is scaled to yours, and the log says
# so. As written: --cfg-options auto_scale_lr.enable=False.
auto_scale_lr = dict(enable=True, base_batch_size=1)
