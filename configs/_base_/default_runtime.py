# Runtime of every config. custom_imports makes the plugin known to mmseg, in every process.
default_scope = 'mmseg'
custom_imports = dict(imports=['mmseg_dynopool'], allow_failed_imports=False)
env_cfg = dict(
    # Learned sizes change: cuDNN would search for its fastest kernels again and again.
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
visualizer = dict(type='SegLocalVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(type='DynOPoolLogProcessor', by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
tta_model = dict(type='SegTTAModel')
