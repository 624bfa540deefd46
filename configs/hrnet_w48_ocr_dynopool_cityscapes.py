# HRNet-W48 with DynOPool and the OCR head on Cityscapes.
_base_ = [
    './_base_/models/ocr_hrnet_w48.py', './_base_/datasets/cityscapes.py',
    './_base_/schedules/sgd_poly_100e.py', './_base_/default_runtime.py'
]
model = dict(type='DynOPoolCascadeEncoderDecoder', backbone=dict(type='DynOPoolHRNet'))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'dynopools': dict(lr_mult=0.5, decay_mult=0.)}))
# lambda, per 1e9 multiply-adds.
custom_hooks = [dict(type='DynOPoolHook', gmacs_weight=7e-5)]
