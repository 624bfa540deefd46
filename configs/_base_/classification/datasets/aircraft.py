# FGVC-Aircraft, 100 variants: data/fgvc-aircraft-2013b/data. Augmented and normalized as in the
# code of Shape Adaptor, as the paper does (supplement, section 1.1): random crops, not resized.
_base_ = './loaders.py'
dataset_type = 'FGVCAircraft'
data_root = 'data/fgvc-aircraft-2013b'
data_preprocessor = dict(
    num_classes=100,
    mean=[122.349, 130.229, 136.247],
    std=[53.729, 52.275, 60.486],
    to_rgb=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=256, edge='short'),
    dict(type='RandomCrop', crop_size=224),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=256, edge='short'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs')
]
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        type=dataset_type, data_root=data_root, split='trainval', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=8,
    dataset=dict(type=dataset_type, data_root=data_root, split='test', pipeline=test_pipeline))
test_dataloader = val_dataloader
