"""What a user would do for less compute: the config of each run, at its counted cost."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import HOOKS, MODELS

from mmseg_dynopool import DynOPoolHook
from mmseg_dynopool.layers.find import short_names
from mmseg_dynopool.models.cost import count_network_gmacs, network_counter

from . import kernels, spaced  # noqa: F401, they are registered
from .fashion_scenes import VARIANTS
from .runs import NETWORKS, Run
from .spoken_numbers import BANDS, CLASSES, FRAMES

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
STRETCH = dict(stretched_h=3., stretched_w=1 / 3)  # height to width
# Of the weights' lr.
ALPHA_LR = dict(adaptor=0.1, dynopool=0.1)
# Data of coronal slices, by `mni152.py --plane coronal`, and the images' sizes.
THICK = dict(mni152_coronal_5=(32, 160), mni152_coronal_3=(48, 160))
# By hand, of the first two layers: nnU-Net's rule, and frequencies more than time.
STRIDES = dict(mni152_coronal_5=((1, 2), (1, 2)), mni152_coronal_3=((1, 2), (2, 2)),
               spoken_numbers=((2, 1), (2, 2)))
ALIGNED = 8  # pixels: a size that no strided layer shifts
# In the place of the scenes' data set.
SPOKEN = dict(
    type='BaseSegDataset', img_suffix='.png', seg_map_suffix='.png',
    metainfo=dict(classes=CLASSES, palette=[[36 * n] * 3 for n in range(len(CLASSES))]))
# In the place of the demo's HRNet.
UNET = {
    'model.backbone': dict(
        _delete_=True, type='UNet', base_channels=16, num_stages=4, strides=(1, 1, 1, 1),
        enc_num_convs=(2, 2, 2, 2), dec_num_convs=(2, 2, 2), downsamples=(True, True, True),
        enc_dilations=(1, 1, 1, 1), dec_dilations=(1, 1, 1), norm_cfg=dict(type='BN')),
    'model.decode_head.in_channels': 16, 'model.decode_head.channels': 16,
    'model.decode_head.in_index': 3, 'model.decode_head.input_transform': None}
_TOLERANCE = 0.007  # of counted costs


def describe(run: Run, scales: dict | None = None) -> tuple[str, dict]:
    """Config file and overrides of a run.

    Args:
        run: which.
        scales: ``{instance: (r_h, r_w)}``, of the method ``'retrained'``.

    Returns:
        The file's name in ``configs`` and a dict as for ``--cfg-options``.
    """
    file, overrides = NETWORKS[run.network], dict(_data(run))
    overrides['randomness.seed'] = run.seed
    overrides.update(_METHODS[run.method](run, overrides, scales))
    return file, overrides


def load(file: str, overrides: dict) -> Config:
    """The config with its overrides."""
    config = Config.fromfile(CONFIGS / file)
    config.merge_from_dict(overrides)
    init_default_scope('mmseg')
    return config


def gmacs(file: str, overrides: dict) -> float:
    """Counted cost of one image."""
    config = load(file, overrides)
    return count_network_gmacs(MODELS.build(config.model), config.model.data_preprocessor.size)


def _data(run: Run) -> Iterable[tuple[str, object]]:
    iterations = dict(run.options).get('iterations')
    if iterations:
        yield from {'train_cfg.max_iters': iterations, 'train_cfg.val_interval': iterations,
                    'param_scheduler.0.end': iterations}.items()
    if run.network == 'unet':
        yield from UNET.items()
    for loader in ('train', 'val', 'test'):
        yield f'{loader}_dataloader.dataset.data_root', f'{run.folder}/'
    if run.data in THICK:
        yield 'model.data_preprocessor.size', THICK[run.data]
        yield 'train_dataloader.dataset.pipeline', [
            dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
            dict(type='RandomFlip', prob=0.5), dict(type='PackSegInputs')]
    elif run.data == 'spoken_numbers':
        yield 'model.data_preprocessor.size', (BANDS, FRAMES)
        yield 'model.decode_head.num_classes', len(CLASSES)
        yield 'model.decode_head.loss_decode.class_weight', None
        for loader in ('train', 'val', 'test'):
            for name, value in SPOKEN.items():
                yield f'{loader}_dataloader.dataset.{name}', value
    elif run.network in ('hrnet', 'deeplab'):
        yield 'model.data_preprocessor.size', VARIANTS[run.data].shape


def _target(run: Run, overrides: dict) -> float:
    return run.ratio * gmacs(NETWORKS[run.network], overrides)


def match(cost: Callable[[float, float], float], wanted: float, low: float, high: float
           ) -> tuple[float, float]:
    """The size x in [low, high], and lean, at which a rising, stepped cost is as wanted.

    Sizes are rounded, so an even x may have no cost near enough. The lean is the factor by which
    heights are enlarged and widths reduced, the nearest to 1 that does.
    """
    tried = {}
    for lean in (1., 0.99, 1.01, 0.98, 1.02, 0.97, 1.03, 0.96, 1.04):
        bottom, top = low, high
        for _ in range(12):
            middle = (bottom + top) / 2
            tried[middle, lean] = cost(middle, lean)
            if abs(tried[middle, lean] / wanted - 1) < _TOLERANCE:
                return middle, lean
            bottom, top = (middle, top) if tried[middle, lean] < wanted else (bottom, middle)
    return min(tried, key=lambda found: abs(tried[found] - wanted))


def _stock(run, overrides, scales):
    return {}


def _stock_network(run, overrides):
    """The size of its images, and the network."""
    model = load(NETWORKS[run.network], overrides).model
    return model.data_preprocessor.size, MODELS.build(model)


def _resized(run, overrides, factors: Callable[[float], tuple[float, float]]):
    shape, stock = _stock_network(run, overrides)

    def resized(x, lean):
        return tuple(round(n * f) for n, f in zip(shape, leaning(factors(x), lean)))

    def cost(x, lean):
        return count_network_gmacs(stock, resized(x, lean))

    return at_size(*resized(*match(cost, _target(run, overrides), 0.1, 1.)))


def at_size(height: int, width: int) -> dict:
    """Overrides of a config whose images have another size."""
    # Resized before the labels are loaded: loss and metric see them in full.
    pipeline = [dict(type='LoadImageFromFile'),
                dict(type='Resize', scale=(width, height), keep_ratio=False),
                dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
    return {'model.data_preprocessor.size': (height, width),
            **{f'{loader}_dataloader.dataset.pipeline': pipeline
               for loader in ('train', 'val', 'test')}}


def leaning(pair: tuple[float, float], lean: float) -> tuple[float, float]:
    return pair[0] * lean, pair[1] / lean


def _input(run, overrides, scales):
    return _resized(run, overrides, lambda x: (x, x))


def _aligned_size(run, overrides):
    """Of the aligned sizes of about the image's aspect the one nearest in cost."""
    (height, width), stock = _stock_network(run, overrides)
    wanted = _target(run, overrides)
    sizes = [(h, w) for h in range(ALIGNED, height + 1, ALIGNED)
             for w in range(ALIGNED, width + 1, ALIGNED)
             if abs(math.log(h * width / (w * height))) < 0.1 and h * w > 0.3 * height * width]
    return min(sizes, key=lambda size: abs(math.log(count_network_gmacs(stock, size) / wanted)))


def _scale_to(size, model):
    return tuple(n / m for n, m in zip(size, model.data_preprocessor.size))


def _aligned_scale(run, overrides):
    return _scale_to(_aligned_size(run, overrides), load(NETWORKS[run.network], overrides).model)


def _aligned(run, overrides, scales):
    size = _aligned_size(run, overrides)
    if run.network == 'demo':  # crops and flips by the training's own pipeline
        return _in_network(run, overrides, size)
    return at_size(*size)


def _planned(run, overrides, scales):
    """Begun at full size, and shrunk evenly as a budget shrinks."""
    return {'model.type': 'DynOPoolEncoderDecoder',
            'model.dynopool': dict(levels='image', multiple=ALIGNED),
            'custom_hooks': [dict(type='DynOPoolHook', travel=0., jitter=0.,
                                  **_budget(run, overrides, {}))]}


def _in_network(run, overrides, size, **backbone):
    """The stock network, whose image has another size behind the data preprocessor."""
    model = load(NETWORKS[run.network], overrides).model
    scale = _scale_to(size, model)
    return {'model.backbone': dict(
        _delete_=True, type='DynOPoolBackbone', backbone=model.backbone.to_dict() | backbone,
        dynopool=dict(levels='image', scale=dict(image=scale), bounds=dict(image=(0.1, 8.)),
                      learn=False, multiple=ALIGNED))}


def _kernel(run, overrides, scales):
    """The aligned size again, of an image that the network itself resizes by one of KERNELS."""
    return {**_in_network(run, overrides, _aligned_size(run, overrides)),
            'custom_hooks': [dict(type='KernelHook', kernel=dict(run.options)['kernel'])]}


def _shaped(run, overrides, scales):
    """An image of the size that the options name, `'64x80'`."""
    return _in_network(run, overrides, _named_size(run))


def _named_size(run):
    return map(int, dict(run.options)['size'].split('x'))


def _spaced(run, overrides, scales):
    """The axes' strides by hand; an image that fits the cost has its size, or scale `'image'`."""
    options = dict(run.options)
    size = _named_size(run) if 'size' in options else (
        n * options.get('image', 1.) for n in THICK[run.data])
    kind = dict(type='SpacedUNet') if run.network == 'unet' else dict(
        type='SpacedHRNet', stem_strides=STRIDES[run.data])
    return _in_network(run, overrides, size, **kind)


def _squeezed(run, overrides, scales):
    tall = STRETCH[run.data] > 1
    return _resized(run, overrides, lambda x: (x, 1.) if tall else (1., x))


def _narrow(run, overrides, scales):
    wanted = _target(run, overrides)
    found = {}
    for options in dict(hrnet=_narrow_hrnet, deeplab=_narrow_resnet)[run.network]():
        miss = abs(gmacs(NETWORKS[run.network], {**overrides, **options}) / wanted - 1)
        if miss < 0.01:
            return options
        found[miss] = options
    return found[min(found)]


def _narrow_hrnet():
    for part in range(100, 20, -1):
        channels = [round(c * part / 100) for c in (16, 32, 64, 128)]
        stages = {f'model.backbone.extra.stage{n}.num_channels': channels[:n] for n in (2, 3, 4)}
        yield {**stages, 'model.backbone.extra.stage1.num_channels': (channels[0], ),
               'model.decode_head.in_channels': channels,
               'model.decode_head.channels': round(48 * part / 100)}


def _narrow_resnet():
    # The base gives the backbone's channels in coarse steps, the head's are even to them or near.
    widths = [(base, head) for base in range(16, 6, -1) for head in range(32, 8, -1)]
    for base, head in sorted(widths, key=lambda w: abs(w[1] - 2 * w[0])):
        yield {'model.backbone.base_channels': base, 'model.backbone.stem_channels': base,
               'model.decode_head.in_channels': 8 * base,
               'model.decode_head.c1_in_channels': base, 'model.decode_head.channels': head}


def _network(run: Run, learn: bool, options: dict) -> dict:
    """The network with poolings of these options."""
    if run.network in ('deeplab', 'unet'):
        if learn:
            return {'model.type': 'DynOPoolEncoderDecoder', 'model.dynopool': options}
        stock = load(NETWORKS[run.network], {}).model.backbone.to_dict()
        return {'model.backbone': dict(_delete_=True, type='DynOPoolBackbone', backbone=stock,
                                       dynopool=dict(options, learn=False))}
    # Streams alone, unless the wanted cost is out of their reach.
    needs_stem = run.ratio < 0.6 or run.method == 'latency'
    options = dict(options, stem=needs_stem and not options.get('image'))
    if not learn:
        options['learn'] = False
    segmentor = {'model.type': 'DynOPoolEncoderDecoder'} if learn else {}
    return {**segmentor, 'model.backbone.type': 'DynOPoolHRNet',
            'model.backbone.dynopool': options}


def _matched(run, overrides, scales_at: Callable[[float, float, list[str]], dict]):
    file = NETWORKS[run.network]
    config = load(file, {**overrides, **_network(run, False, {})})
    counter = network_counter(MODELS.build(config.model), config.model.data_preprocessor.size)
    short = short_names(counter.pools)

    def cost(x, lean):
        for name, scale in scales_at(x, lean, list(short.values())).items():
            counter.pools[{s: n for n, s in short.items()}[name]].set_scale_(scale)
        return counter.gmacs()

    best = match(cost, _target(run, overrides), 0.125, 1 / math.sqrt(3))
    return _network(run, False, dict(scale=scales_at(*best, list(short.values()))))


def _uniform(run, overrides, scales):
    return _matched(run, overrides, lambda x, lean, names: {
        name: (x, x) if k else leaning((x, x), lean) for k, name in enumerate(names)})


def _picked(run, overrides, scales):
    root = math.sqrt(STRETCH[run.data])

    def scales_at(x, lean, names):  # the first level undoes the stretch
        return {name: (x, x) if k else leaning((x / root, x * root), lean)
                for k, name in enumerate(names)}

    return _matched(run, overrides, scales_at)


def _retrained(run, overrides, scales):
    return _network(run, False, dict(scale=scales))


def _fixed(run, overrides, scales):
    scale = dict(run.options)['scale']
    return _network(run, False, dict(scale=scale))


def _budget(run: Run, overrides: dict, options: dict) -> dict:
    """Of the hook; takes the phases from ``options``."""
    phases = {name: options.pop(name) for name in ('begin', 'reach', 'settle') if name in options}
    if run.method == 'latency':
        return dict(latency_budget=dict(target=run.ratio, **phases))
    return dict(gmacs_budget=dict(target_gmacs=_target(run, overrides), **phases))


def _in_optimizer(run: Run, overrides: dict, kind: str) -> dict:
    """The alphas learn by a gradient of their own, with an lr of their own."""
    options = dict(run.options)
    lr = ALPHA_LR[run.method] * options.pop('alpha_lr', 1.)
    if run.network == 'demo':
        lr *= 10  # its weights learn with a tenth of the others' lr
    hook = dict(type='DynOPoolHook', gradient='straight_through',
                **_budget(run, overrides, options))
    return {**_network(run, True, dict(options, type=kind)),
            'optim_wrapper.paramwise_cfg': dict(
                custom_keys=dict(dynopools=dict(lr_mult=lr, decay_mult=0.))),
            'custom_hooks': [hook]}


def _learner(run, overrides, scales):
    options = dict(run.options)
    for name in ('iterations', 'probe'):
        options.pop(name, None)
    if options.pop('start', None) == 'target':  # the image, evenly
        options['scale'] = dict(image=_aligned_scale(run, overrides))
    hook = dict(type='DynOPoolHook', jitter=0.1, **_budget(run, overrides, options))
    hook.update({name: options.pop(name) for name in ('travel', 'every', 'step', 'jitter')
                 if name in options})
    if not options.pop('shrink', True):
        hook['type'] = 'UnshrunkHook'
    return {**_network(run, True, options), 'custom_hooks': [hook]}


def _slopes(run, overrides, scales):
    learned = _network(run, True, {})
    learned['model.backbone.dynopool']['stem'] = True
    return {**learned,
            'optim_wrapper.paramwise_cfg': dict(
                custom_keys=dict(dynopools=dict(lr_mult=0., decay_mult=0.))),
            'custom_hooks': [dict(type='DynOPoolHook', gmacs_weight=0.)]}


def _adaptor(run, overrides, scales):
    return _in_optimizer(run, overrides, 'ShapeAdaptor')


def _dynopool(run, overrides, scales):
    return _in_optimizer(run, overrides, 'DynOPool')


def _of_0_3(run, overrides, scales):
    raise ValueError(f'{run.key}: version 0.3 trained this, its method is gone; see learner')


@HOOKS.register_module()
class UnshrunkHook(DynOPoolHook):
    """The means of the slopes are taken as they are, noise included."""

    def before_train(self, runner):
        super().before_train(runner)
        self.learner.slopes.shrink = False


_METHODS = dict(stock=_stock, input=_input, aligned=_aligned, planned=_planned, kernel=_kernel,
                shaped=_shaped, spaced=_spaced,
                squeezed=_squeezed, narrow=_narrow, uniform=_uniform, picked=_picked,
                adaptor=_adaptor, dynopool=_dynopool, measured=_of_0_3, latency=_of_0_3,
                retrained=_retrained, fixed=_fixed, slopes=_slopes, learner=_learner)
