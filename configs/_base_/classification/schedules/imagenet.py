# ImageNet in Table 1 of the supplement, in mixed precision (section 1.2).
optim_wrapper = dict(
    # Without CUDA our tools set CPUAmpOptimWrapper, which needs no loss_scale.
    type='AmpOptimWrapper',
    loss_scale='dynamic',
    optimizer=dict(type='SGD', lr=1e-1, momentum=0.9, weight_decay=5e-4))
param_scheduler = [
    # By epoch and to 0, as for CIFAR-100.
    dict(type='CosineAnnealingLR', T_max=120, eta_min=0., begin=0, end=120, by_epoch=True)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=120, val_interval=1)
# 64 images on each of 4 GPUs.
auto_scale_lr = dict(enable=False, base_batch_size=256)
