# The demo: the same small HRNet, trained the same way, with learned resolutions.
_base_ = './demo_fixed_mni152.py'
model = dict(
    type='DynOPoolEncoderDecoder',
    # Per 1e9 multiply-adds; the net has 0.3 of them, the paper's 170.
    gmacs_weight=0.04,
    backbone=dict(type='DynOPoolHRNet'))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'dynopools': dict(lr_mult=0.5, decay_mult=0.)}))
custom_hooks = [dict(type='DynOPoolHook')]
work_dir = 'work_dirs/demo/dynopool'
