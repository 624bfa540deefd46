"""Train one run of docs/classification_evidence.md: a narrow VGG on distorted garments."""

import gzip
import math
import time
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.registry import MODELS

from mmseg_dynopool.models.cost import count_network_gmacs, network_counter

from .candidates import leaning, match
from .classifier_runs import DISTORTIONS, ClassifierRun, Distortion
from .fashion_scenes import INSTALLED
from .train import circumstances, quiet_folder, scales_of

CONFIG = Path(__file__).resolve().parents[2] / 'configs/classification/evidence_vgg_fashion.py'
FOLDER = Path('data/fashion_mnist')
# Of the weights' lr.
ALPHA_LR = dict(adaptor=0.75, dynopool=0.75)


def prepare_data() -> None:
    """Unpack Debian's files to where mmpretrain's data set reads them."""
    for packed in INSTALLED.glob('*-ubyte.gz'):
        path = FOLDER / packed.stem
        if not path.is_file():
            FOLDER.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.decompress(packed.read_bytes()))


def describe(run: ClassifierRun, scales: dict | None = None) -> Config:
    """The config of a run; ``scales`` are of the method ``'retrained'``."""
    distortion = DISTORTIONS[run.data]
    config = Config.fromfile(CONFIG)
    init_default_scope(config.default_scope)
    for loader in ('train', 'val'):
        dataset = config[f'{loader}_dataloader'].dataset
        resize, pack = dataset.pipeline
        dataset.pipeline = [resize, *filter(None, [distortion.transform]), pack]
    stock = count_network_gmacs(MODELS.build(config.model), distortion.shape)
    overrides = {'randomness.seed': run.seed}
    if run.method == 'retrained':
        overrides['model.backbone'] = _fixed(config, scales)
    elif run.method in ('uniform', 'picked'):
        root = math.sqrt(distortion.stretch) if run.method == 'picked' else 1.
        overrides['model.backbone'] = _fixed(
            config, _matched(config, distortion, run.ratio * stock, root))
    elif run.method == 'measured':
        raise ValueError(f'{run.key}: version 0.3 trained this, its method is gone; see learner')
    elif run.method != 'fixed':
        hook = dict(type='DynOPoolHook', gmacs_shape=distortion.shape,
                    gmacs_budget=dict(target_gmacs=run.ratio * stock))
        if run.method in ALPHA_LR:
            hook['gradient'] = 'straight_through'
            overrides['optim_wrapper.paramwise_cfg'] = dict(custom_keys=dict(
                dynopools=dict(lr_mult=ALPHA_LR[run.method], decay_mult=0.)))
        overrides.update({
            'model.type': 'DynOPoolImageClassifier',
            'model.dynopool': dict(
                rule='after', type='ShapeAdaptor' if run.method == 'adaptor' else 'DynOPool'),
            'custom_hooks': [hook]})
    config.merge_from_dict(overrides)
    return config


def _fixed(config: Config, scales: dict) -> dict:
    """The backbone with these fixed scales."""
    return dict(_delete_=True, type='DynOPoolBackbone', backbone=config.model.backbone,
                dynopool=dict(rule='after', learn=False, scale=scales))


def _matched(config: Config, distortion: Distortion, wanted: float, root: float) -> dict:
    """Scales of this cost; those of the first pool undo a stretch of root^2."""

    def scales(x, lean):
        return dict(stride2=leaning((x / root, x * root), lean), stride4=(x, x))

    backbone = _fixed(config, 0.5)
    del backbone['_delete_']
    counter = network_counter(MODELS.build(dict(config.model, backbone=backbone)),
                              distortion.shape)

    def cost(x, lean):
        for pool, scale in zip(counter.pools.values(), scales(x, lean).values()):
            pool.set_scale_(scale)
        return counter.gmacs()

    return scales(*match(cost, wanted, 0.125, 1 / math.sqrt(3)))


def finish(run: ClassifierRun, work_dir: Path, scales: dict | None = None) -> dict:
    """Train and measure; returns the JSON line. Its messages go to a file in ``work_dir``."""
    start = time.time()
    with quiet_folder(work_dir, run.key) as folder:
        config = describe(run, scales)
        config.merge_from_dict(dict(
            work_dir=str(folder), experiment_name=run.key, log_level='WARNING',
            visualizer=dict(type='UniversalVisualizer', name=run.key, vis_backends=[])))
        runner = Runner.from_cfg(config)
        runner.train()
        shape = DISTORTIONS[run.data].shape
        stock = describe(ClassifierRun(run.data, 'fixed', 1., 0))
        counts = [count_network_gmacs(model, shape)
                  for model in (runner.model, MODELS.build(stock.model))]
        accuracy = runner.message_hub.get_scalar('val/accuracy/top1').current()
        result = dict(
            key=run.key, data=run.data, method=run.method, target_ratio=run.ratio, seed=run.seed,
            accuracy=accuracy, gmacs=counts[0], gmacs_ratio=counts[0] / counts[1],
            scales=scales_of(runner.model))
    return result | dict(seconds=round(time.time() - start, 1), **circumstances())
