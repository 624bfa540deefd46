# SegFormer-B0 that learns the resolution of its stages, at 0.7 of the stock network's cost.
_base_ = './segformer_b0_cityscapes.py'
model = dict(type='DynOPoolEncoderDecoder', dynopool=dict(rule='before'))
custom_hooks = [dict(type='DynOPoolHook', gmacs_budget=dict(target=0.7))]
