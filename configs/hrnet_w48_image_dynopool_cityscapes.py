# HRNet-W48 that learns the image's own size and its streams', at half of the stock network's cost.
_base_ = [
    './_base_/models/fcn_hrnet_w48.py', './_base_/datasets/cityscapes.py',
    './_base_/schedules/sgd_poly_100e.py', './_base_/default_runtime.py'
]
model = dict(backbone=dict(type='DynOPoolHRNet', dynopool=dict(image=True)))
custom_hooks = [dict(type='DynOPoolHook', gmacs_budget=dict(target=0.5))]
