# The baseline: stock HRNet-W48 on Cityscapes with the same recipe.
_base_ = [
    './_base_/models/fcn_hrnet_w48.py', './_base_/datasets/cityscapes.py',
    './_base_/schedules/sgd_poly_100e.py', './_base_/default_runtime.py'
]
