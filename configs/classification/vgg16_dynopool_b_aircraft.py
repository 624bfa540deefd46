# DynOPool-B: VGG-16 on FGVC-Aircraft, the larger network (supplement, Table 2).
_base_ = './vgg16_dynopool_s_aircraft.py'
custom_hooks = [dict(type='DynOPoolHook', gmacs_weight=6.51e-6, gmacs_shape=(224, 224))]
