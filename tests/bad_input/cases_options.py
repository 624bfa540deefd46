"""Options of the command lines."""


def option_not_key_value(bench):
    return bench.train('batch_size')


def option_brackets(bench):
    return bench.train('model.backbone.dynopool.scale=0.5,(0.4')


def option_index_too_large(bench):
    return bench.train('train_dataloader.dataset.pipeline.9.crop_size=(1,1)')


def option_inside_a_number(bench):
    return bench.infer('image.png', '--cfg-options', 'randomness.seed.x=1')


def option_unknown(bench):
    return bench.train(flags=['--reesume'])


def option_launcher(bench):
    return bench.train(flags=['--launcher', 'torch'])


def option_opacity_too_high(bench):
    return bench.infer(bench.project.images[0], '--opacity', 2)


def option_opacity_nan(bench):
    return bench.infer(bench.project.images[0], '--opacity', 'nan')


def option_opacity_word(bench):
    return bench.infer(bench.project.images[0], '--opacity', 'half')


def option_device_missing(bench):
    return bench.infer(bench.project.images[0], '--device', 'cuda:77')


def option_device_unknown(bench):
    return bench.infer(bench.project.images[0], '--device', 'gpu')


def option_shape_zero(bench):
    return bench.tool('get_flops', bench.project.config, '--shape', 0, 64)


def option_shape_negative(bench):
    return bench.tool('get_flops', bench.project.config, '--shape', -64, 64)


def option_shape_nan(bench):
    return bench.tool('get_flops', bench.project.config, '--shape', 'nan', 64)


def option_shape_one_number(bench):
    return bench.tool('get_flops', bench.project.config, '--shape', 64)


def option_shape_missing(bench):
    config = bench.write_config('model = dict(data_preprocessor=dict(size=None))')
    return bench.tool('get_flops', config)


def option_shape_of_one_pixel(bench):
    return bench.tool('get_flops', bench.project.config, '--shape', 1, 1, ok=True)


def option_images_zero(bench):
    return bench.tool('demo', '--images', 0)


def option_repeats_zero(bench):
    return bench.tool('benchmark', '--repeats', 0)


def option_batch_negative(bench):
    return bench.tool('benchmark', '--batch', -1)


def option_scales_nan(bench):
    return bench.tool('benchmark', '--config', bench.project.config, '--shape', 32, 32,
                      '--scales', 'nan')


def option_wait_time_word(bench):
    return bench.tool('test', bench.project.config, bench.project.checkpoint, '--wait-time', 'x')
