# HRNet-W48 with DynOPool on ADE20K, 150 classes, crop 512 x 512, the paper's recipe.
_base_ = [
    './_base_/models/fcn_hrnet_w48.py', './_base_/datasets/ade20k.py',
    './_base_/schedules/sgd_poly_100e.py', './_base_/default_runtime.py'
]
model = dict(
    type='DynOPoolEncoderDecoder',
    data_preprocessor=dict(size=(512, 512)),
    backbone=dict(type='DynOPoolHRNet'),
    decode_head=dict(num_classes=150))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'dynopools': dict(lr_mult=0.5, decay_mult=0.)}))
# lambda, per 1e9 multiply-adds.
custom_hooks = [dict(type='DynOPoolHook', gmacs_weight=7e-5)]
