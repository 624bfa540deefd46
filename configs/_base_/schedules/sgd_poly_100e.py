# The paper's segmentation recipe (supplement, section 1.2): 100 epochs, SGD with momentum 0.9,
# poly lr with power 0.9, per iteration. The batch of 16 is that of the data set's config.
optimizer = dict(type='SGD', lr=1.6e-2, momentum=0.9, weight_decay=1e-4)
optim_wrapper = dict(type='OptimWrapper', optimizer=optimizer)
param_scheduler = [
    # eta_min is absolute and holds for all groups: above 0, a smaller lr would rise to it.
    dict(
        type='PolyLR',
        power=0.9,
        eta_min=0.,
        begin=0,
        end=100,
        by_epoch=True,
        convert_to_iter_based=True)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=100, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=True),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook', by_epoch=True, interval=5, max_keep_ckpts=3, save_best='mIoU'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'))
# The recipe's batch on one GPU. With more GPUs divide train_dataloader.batch_size by their
# number, or scale the lr (mmengine's auto_scale_lr) to keep the batch per GPU.
auto_scale_lr = dict(enable=False, base_batch_size=16)
