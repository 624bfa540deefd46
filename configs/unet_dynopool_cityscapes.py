# UNet that learns its resolutions, at 0.7 of the stock network's cost. Its fixed upsampling
# leads back to the learned sizes.
_base_ = './unet_cityscapes.py'
model = dict(type='DynOPoolEncoderDecoder', dynopool=dict(rule='before'))
custom_hooks = [dict(type='DynOPoolHook', gmacs_budget=dict(target=0.7))]
