# DeepLabV3+ with a ResNet-50 that learns its resolutions, the image's own among them, at half of
# the stock network's cost.
_base_ = './deeplabv3plus_r50_cityscapes.py'
model = dict(type='DynOPoolEncoderDecoder', dynopool=dict(rule='before', image=True))
custom_hooks = [dict(type='DynOPoolHook', gmacs_budget=dict(target=0.5))]
