# HRNet-W48 with DynOPool on Cityscapes, the paper's recipe (supplement, section 1.2).
_base_ = [
    './_base_/models/fcn_hrnet_w48.py', './_base_/datasets/cityscapes.py',
    './_base_/schedules/sgd_poly_100e.py', './_base_/default_runtime.py'
]
# What turns the stock config into one with learned resolutions.
model = dict(
    type='DynOPoolEncoderDecoder',
    backbone=dict(
        type='DynOPoolHRNet',
        dynopool=dict(scale=0.5, bounds=(0.125, 1.0), anchor='local', window=8, stem=False)))
# alpha: half of the weights' lr (8e-3 beside 1.6e-2), no weight decay.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'dynopools': dict(lr_mult=0.5, decay_mult=0.)}))
# lambda, per 1e9 multiply-adds.
custom_hooks = [dict(type='DynOPoolHook', gmacs_weight=7e-5)]
