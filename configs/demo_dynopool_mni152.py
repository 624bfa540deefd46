# The demo: the same small HRNet, trained the same way, with learned resolutions.
_base_ = './demo_fixed_mni152.py'
model = dict(type='DynOPoolEncoderDecoder', backbone=dict(type='DynOPoolHRNet'))
# 400 iterations instead of 18,500: alpha takes larger steps.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'dynopools': dict(lr_mult=1., decay_mult=0.)}))
# lambda, per 1e9 multiply-adds. The paper's net has 187 of them, this one 0.46.
custom_hooks = [dict(type='DynOPoolHook', gmacs_weight=0.15)]
work_dir = 'work_dirs/demo/dynopool'
