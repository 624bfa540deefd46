# The demo: the same small HRNet, trained the same way, learns the image's size and its streams',
# and ends at half of the cost.
_base_ = './demo_fixed_mni152.py'
model = dict(backbone=dict(type='DynOPoolHRNet', dynopool=dict(image=True)))
custom_hooks = [dict(type='DynOPoolHook', gmacs_budget=dict(target=0.5))]
work_dir = 'work_dirs/demo/dynopool'
