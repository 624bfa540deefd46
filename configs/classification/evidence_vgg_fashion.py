# Evidence: a narrow VGG on 6,000 garments of Fashion-MNIST, a minute on a CPU core.
# tools/study/classifiers.py adds the distortion and the candidates.
default_scope = 'mmpretrain'
custom_imports = dict(imports=['mmseg_dynopool.classification'], allow_failed_imports=False)
pipeline = [dict(type='Resize', scale=(20, 20), interpolation='area'), dict(type='PackInputs')]
dataset = dict(
    type='FashionMNIST',
    data_root='data/fashion_mnist',
    download=False,
    pipeline=pipeline)
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(indices=6000, **dataset))
val_dataloader = dict(
    batch_size=250,
    num_workers=0,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(split='test', test_mode=True, indices=4000, **dataset))
val_evaluator = dict(type='Accuracy', topk=(1, ))
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(mean=[70.], std=[90.], num_classes=10),
    backbone=dict(type='NarrowVGG'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=10,
        in_channels=32,
        loss=dict(type='CrossEntropyLoss')))
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=False, T_max=800)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=800, val_interval=800)
val_cfg = dict()
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=None)
log_processor = dict(by_epoch=False)
