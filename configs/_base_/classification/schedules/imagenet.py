# ImageNet in Table 1 of the supplement, in mixed precision (section 1.2).
optimizer = dict(type='SGD', lr=1e-1, momentum=0.9, weight_decay=5e-4)
# A machine without CUDA takes dict(type='CPUAmpOptimWrapper', optimizer=optimizer) in its place.
optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic', optimizer=optimizer)
param_scheduler = [
    # By epoch, as in the code of Shape Adaptor, whose training the paper follows.
    # eta_min is absolute and holds for all groups: above 0, a smaller lr would rise to it.
    dict(type='CosineAnnealingLR', T_max=120, eta_min=0., begin=0, end=120, by_epoch=True)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=120, val_interval=1)
# 4 GPUs with the data set's 64 images each.
auto_scale_lr = dict(enable=False, base_batch_size=256)
