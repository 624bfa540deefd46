# DynOPool-B: ResNet-50 on FGVC-Aircraft, the larger network (supplement, Table 2).
_base_ = './resnet50_dynopool_s_aircraft.py'
# Table 2 starts the first resizing at 0.7. We read it as the first of the stem's two, which are
# merged: together 0.7 * 0.5.
model = dict(dynopool=dict(scale=dict(stride4=0.35)))
custom_hooks = [dict(type='DynOPoolHook', gmacs_weight=0., gmacs_shape=(224, 224))]
