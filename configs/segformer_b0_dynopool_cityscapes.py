# SegFormer-B0 that learns the resolution of its stages, at 0.7 of the stock network's cost.
_base_ = './segformer_b0_cityscapes.py'
model = dict(
    type='DynOPoolEncoderDecoder', gmacs_budget=dict(target=0.7), dynopool=dict(rule='before'))
# AdamW moves a parameter by about its lr in each step: ten times the weights' lets alpha, which
# starts at 2 and 4, get anywhere within the training.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'dynopools': dict(lr_mult=10., decay_mult=0.)}))
custom_hooks = [dict(type='DynOPoolHook')]
