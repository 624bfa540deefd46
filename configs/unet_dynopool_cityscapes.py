# UNet that learns its resolutions, the image's own among them, at half of the stock network's
# cost. Its fixed upsampling leads back to the learned sizes.
_base_ = './unet_cityscapes.py'
model = dict(type='DynOPoolEncoderDecoder', dynopool=dict(rule='before', image=True))
custom_hooks = [dict(type='DynOPoolHook', gmacs_budget=dict(target=0.5))]
