# SegFormer-B0 that learns the resolutions of the image and of its stages, at half of the stock
# network's cost.
_base_ = './segformer_b0_cityscapes.py'
model = dict(type='DynOPoolEncoderDecoder', dynopool=dict(rule='before', image=True))
custom_hooks = [dict(type='DynOPoolHook', gmacs_budget=dict(target=0.5))]
