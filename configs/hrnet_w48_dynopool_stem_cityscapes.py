# DynOPool in the stem, too: its two strided convolutions get an instance each.
_base_ = './hrnet_w48_dynopool_cityscapes.py'
model = dict(backbone=dict(dynopool=dict(stem=True)))
