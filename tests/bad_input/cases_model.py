"""Options of the network and of its cost, in the config."""

import re

import pytest

from mmseg_dynopool import DynOPoolHook

NAN = float('nan')


def _dynopool(bench, **options):
    return bench.build(backbone=dict(dynopool=options))


def dynopool_unknown(bench):
    return _dynopool(bench, scales=0.5)


def dynopool_list(bench):
    return bench.build(backbone=dict(dynopool=[0.5]))


def scale_zero(bench):
    return _dynopool(bench, scale=0)


def scale_negative(bench):
    return _dynopool(bench, scale=-0.5)


def scale_nan(bench):
    return _dynopool(bench, scale=NAN)


def scale_word(bench):
    return _dynopool(bench, scale='half')


def scale_of_three(bench):
    return _dynopool(bench, scale=(0.5, 0.5, 0.5))


def scale_out_of_bounds(bench):
    return _dynopool(bench, scale=2)


def scale_of_unknown_stream(bench):
    return _dynopool(bench, scale=dict(stream4=0.5))


def bounds_swapped(bench):
    return _dynopool(bench, bounds=(1.0, 0.125))


def bounds_zero(bench):
    return _dynopool(bench, bounds=(0, 1.0))


def bounds_nan(bench):
    return _dynopool(bench, bounds=(NAN, 1.0))


def bounds_one_number(bench):
    return _dynopool(bench, bounds=1.0)


def anchor_unknown(bench):
    return _dynopool(bench, anchor='middle')


def window_zero(bench):
    return _dynopool(bench, window=0)


def window_nan(bench):
    return _dynopool(bench, window=NAN)


def window_word(bench):
    return _dynopool(bench, window='8')


def stem_word(bench):
    return _dynopool(bench, stem='yes')


def image_word(bench):
    return _dynopool(bench, image='yes')


def image_and_stem(bench):
    return _dynopool(bench, image=True, stem=True)


def image_bounds_without_1(bench):
    return _dynopool(bench, image=True, bounds=dict(image=(0.25, 0.9)))


def image_scale_out_of_bounds(bench):
    return _dynopool(bench, image=True, scale=dict(image=5))


def image_scale_without_the_level(bench):
    return _dynopool(bench, scale=dict(image=0.7))


def multiple_zero(bench):
    return _dynopool(bench, image=True, multiple=0)


def multiple_of_no_image(bench):
    return _dynopool(bench, multiple=8)


def image_in_front_of_a_frozen_stem(bench):
    with pytest.warns(UserWarning, match='frozen') as caught:
        bench.build(ok=True, backbone=dict(frozen_stages=0, dynopool=dict(image=True)))
    return '. '.join(str(warning.message) for warning in caught)


def image_in_the_papers_way(bench):
    return bench.train('model.backbone.dynopool.image=True', config=bench.write_config(
        "custom_hooks = [dict(type='DynOPoolHook', gmacs_weight=7e-5)]"))


def _hook(bench, **options):
    return bench.call(DynOPoolHook, **options)


def weight_negative(bench):
    return _hook(bench, gmacs_weight=-1)


def weight_nan(bench):
    return _hook(bench, gmacs_weight=NAN)


def weight_word(bench):
    return _hook(bench, gmacs_weight='7e-5')


def weight_and_budget(bench):
    return _hook(bench, gmacs_weight=7e-5, gmacs_budget=dict(target=0.6))


def budget_number(bench):
    return _hook(bench, gmacs_budget=0.6)


def budget_unknown(bench):
    return _hook(bench, gmacs_budget=dict(ratio=0.6))


def budget_zero(bench):
    return _hook(bench, gmacs_budget=dict(target=0))


def budget_nan(bench):
    return _hook(bench, gmacs_budget=dict(target=NAN))


def budget_two_targets(bench):
    return _hook(bench, gmacs_budget=dict(target=0.6, target_gmacs=1.0))


def budget_order(bench):
    return _hook(bench, gmacs_budget=dict(target=0.6, begin=0.5, reach=0.2))


def budget_out_of_reach(bench):
    return bench.train('custom_hooks.0.gmacs_budget.target=0.01')


def budgets_both(bench):
    return _hook(bench, gmacs_budget=dict(target=0.6), latency_budget=dict(target=0.7))


def latency_two_targets(bench):
    return _hook(bench, latency_budget=dict(target=0.6, target_ms=25.))


def latency_unknown(bench):
    return _hook(bench, latency_budget=dict(ms=25.))


def _train_in_time(bench, *options, file=None, **budget):
    budget['model'] = str(file or bench.project.latency)
    return bench.train(*options, config=bench.write_config(
        f"custom_hooks = [dict(type='DynOPoolHook', latency_budget={budget!r})]"))


def latency_out_of_reach(bench):
    return _train_in_time(bench, target_ms=0.001)


def latency_other_shape(bench):
    return _train_in_time(bench, target=0.9, shape=(128, 128))


def latency_other_network(bench):
    return _train_in_time(bench, 'model.backbone.dynopool.stem=True', target=0.9)


def latency_file_missing(bench):
    return _train_in_time(bench, target=0.9, file='none.json')


def latency_no_latency_file(bench):
    return _train_in_time(bench, target=0.9, file=bench.write('other.json', '{"batch": 1}'))


def latency_other_device(bench):
    text = re.sub('"device": ".*?"', '"device": "a phone"', bench.project.latency.read_text())
    return bench.tool('latency', bench.project.config, '--against', bench.write('l.json', text))


def latency_other_shape_against(bench):
    return bench.tool('latency', bench.project.config, '--shape', 32, 32, '--against',
                      bench.project.latency)


def latency_too_few_settings(bench):
    return bench.tool('latency', bench.project.config, '--settings', 3)


def gmacs_shape_zero(bench):
    return _hook(bench, gmacs_shape=(0, 64))


def gmacs_shape_word(bench):
    return _hook(bench, gmacs_shape=('64', '64'))


def gmacs_shape_nan(bench):
    return _hook(bench, gmacs_shape=(NAN, 64))


def gmacs_shape_number(bench):
    return _hook(bench, gmacs_shape=64)


def budget_of_no_class(bench):
    return _hook(bench, budget=0.6)


def gradient_unknown(bench):
    return _hook(bench, gradient='measured')


def gradient_of_an_adaptor(bench):
    return bench.train('model.backbone.dynopool.type=ShapeAdaptor',
                       'custom_hooks.0.gradient=learner')


def travel_negative(bench):
    return _hook(bench, travel=-1)


def every_zero(bench):
    return _hook(bench, every=0)


def every_fraction(bench):
    return _hook(bench, every=0.5)


def step_one(bench):
    return _hook(bench, step=1)


def jitter_one(bench):
    return _hook(bench, jitter=1)


def smallest_zero(bench):
    return _hook(bench, smallest=0)


def forward_unknown(bench):
    return _hook(bench, forward='no.such.function')


def in_channels_zero(bench):
    return bench.train('custom_hooks.0.in_channels=0')


def in_channels_of_another_network(bench):
    return bench.train('custom_hooks.0.in_channels=5')


def _adaptor(bench, **options):
    return _dynopool(bench, type='ShapeAdaptor', **options)


def type_unknown(bench):
    return _dynopool(bench, type='MaxPool2d')


def adaptor_two_scales(bench):
    return _adaptor(bench, scale=(0.5, 0.4))


def adaptor_scale_outside(bench):
    return _adaptor(bench, scale=0.5, ratios=(0.5, 1.0))


def adaptor_ratios_turned(bench):
    return _adaptor(bench, ratios=(1.0, 0.25))


def adaptor_pooling(bench):
    return _adaptor(bench, pooling='sum')


def adaptor_bounds(bench):
    return _adaptor(bench, bounds=(0.25, 1.0))


def adaptor_learn_false(bench):
    return _adaptor(bench, learn=False)
