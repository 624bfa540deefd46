# DeepLabV3+ with a ResNet-50 that learns its resolutions, at 0.7 of the stock network's cost.
_base_ = './deeplabv3plus_r50_cityscapes.py'
model = dict(type='DynOPoolEncoderDecoder', dynopool=dict(rule='before'))
custom_hooks = [dict(type='DynOPoolHook', gmacs_budget=dict(target=0.7))]
