# UNet that learns its resolutions, at 0.7 of the stock network's cost. Its fixed upsampling
# leads back to the learned sizes.
_base_ = './unet_cityscapes.py'
model = dict(
    type='DynOPoolEncoderDecoder', gmacs_budget=dict(target=0.7), dynopool=dict(rule='before'))
# alpha learns from measured losses: a fifth of the weights' lr, no weight decay.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'dynopools': dict(lr_mult=0.2, decay_mult=0.)}))
custom_hooks = [dict(type='DynOPoolHook'), dict(type='MeasuredGradientHook')]
