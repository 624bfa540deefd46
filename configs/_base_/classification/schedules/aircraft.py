# FGVC-Aircraft in Table 1 of the supplement. The batch of 8 is that of the data set's config.
_base_ = './cifar100.py'
optim_wrapper = dict(optimizer=dict(lr=1e-2))
auto_scale_lr = dict(base_batch_size=8)
