# DynOPool-B: MobileNetV2 on FGVC-Aircraft, the larger network (supplement, Table 2).
_base_ = './mobilenet_v2_dynopool_s_aircraft.py'
custom_hooks = [dict(type='DynOPoolHook', gmacs_weight=0., gmacs_shape=(224, 224))]
