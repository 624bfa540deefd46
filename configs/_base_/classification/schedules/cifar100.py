# CIFAR-100 in Table 1 of the supplement. The batch of 128 is that of the data set's config.
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-1, momentum=0.9, weight_decay=5e-4))
param_scheduler = [
    # By epoch, as in the code of Shape Adaptor, whose training the paper follows.
    # eta_min is absolute and holds for all groups: above 0, a smaller lr would rise to it.
    dict(type='CosineAnnealingLR', T_max=250, eta_min=0., begin=0, end=250, by_epoch=True)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=250, val_interval=1)
auto_scale_lr = dict(enable=False, base_batch_size=128)
