# The baseline: VGG-16 on CIFAR-tile, trained as on CIFAR-100 (supplement, section 1.2).
_base_ = './vgg16_fixed_cifar100.py'
# The image, augmented, stands four times in one. The supplement names no factor.
distortion = dict(type='TileImage', rows=2, columns=2)
train_pipeline = [*_base_.train_pipeline[:-1], distortion, _base_.train_pipeline[-1]]
test_pipeline = [*_base_.test_pipeline[:-1], distortion, _base_.test_pipeline[-1]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
