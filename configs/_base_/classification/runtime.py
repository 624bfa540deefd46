# Runtime of every classifier: mmpretrain's registries, to which custom_imports adds ours.
default_scope = 'mmpretrain'
custom_imports = dict(imports=['mmseg_dynopool.classification'], allow_failed_imports=False)
env_cfg = dict(
    # Learned sizes change: cuDNN would search for its fastest kernels again and again.
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
visualizer = dict(type='UniversalVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(type='DynOPoolLogProcessor', by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=True),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook', by_epoch=True, interval=1, max_keep_ckpts=3,
        save_best='accuracy/top1'),
    sampler_seed=dict(type='DistSamplerSeedHook'))
