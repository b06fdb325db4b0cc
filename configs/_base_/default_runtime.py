default_scope = 'mmdet'
custom_imports = dict(imports=['mmfrcnn'], allow_failed_imports=False)

default_hooks = dict(
    runtime_info=dict(type='LossRecordHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='DetVisualizationHook'),
)

# Looks at the data before anything runs: counts it, names what is wrong with it.
custom_hooks = [dict(type='PreflightHook')]

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)

vis_backends = [dict(type='LocalVisBackend')]
# Without a name: runs of one process, named alike, would share one, and its folder.
visualizer = dict(type='DetLocalVisualizer', vis_backends=vis_backends)
log_processor = dict(
    type='LogProcessor',
    window_size=50,
    by_epoch=True,
    # What is averaged over the window; of the rest the log has the last.
    mean_pattern='loss|time|grad_norm|_positives|_negatives|_unmatched|proposal',
)

log_level = 'INFO'
load_from = None
resume = False
