# The demo's rival at half of the cost: the same network on images of 0.7 of the height and width.
_base_ = './demo_fixed_mni152.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='DynOPoolBackbone',
        backbone={{_base_.model.backbone}},
        # 112 x 112 pixels for 160 x 160. Labels stay as they are.
        dynopool=dict(levels='image', scale=dict(image=0.7), multiple=8, learn=False)))
work_dir = 'work_dirs/demo/smaller'
