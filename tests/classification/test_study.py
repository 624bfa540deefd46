"""The runs of docs/classification_evidence.md: their configs, and one from config to line."""

import numpy as np
import pytest
from mmengine.config import Config

pytest.importorskip('mmpretrain', reason='make test-classification has an environment with it')

from mmpretrain.registry import MODELS, TRANSFORMS

from mmseg_dynopool.config import counted_shape
from mmseg_dynopool.layers.find import all_pools
from mmseg_dynopool.models import count_network_gmacs
from study import classifiers
from study.classifier_runs import DISTORTIONS, ClassifierRun, all_runs
from support.toys import ROOT

FIXED = [run for run in all_runs() if run in (
    ClassifierRun(run.data, 'uniform', 0.6, 0), ClassifierRun(run.data, 'picked', 0.6, 0))]
assert FIXED


@pytest.mark.parametrize('run', FIXED, ids=lambda run: f'{run.data}-{run.method}')
def test_fixed_scales_cost_what_is_wanted(run):
    data, method = run.data, run.method
    shape, stretch = DISTORTIONS[data].shape, DISTORTIONS[data].stretch
    models = [MODELS.build(classifiers.describe(r).model)
              for r in (run, ClassifierRun(data, 'fixed', 1., 0))]
    costs = [count_network_gmacs(model, shape) for model in models]
    assert costs[0] / costs[1] == pytest.approx(0.6, rel=0.04)
    stride = 1.
    for pool in all_pools(models[0]).values():
        stride *= pool.scale[1] / pool.scale[0]
    assert stride == pytest.approx(stretch if method == 'picked' else 1, rel=0.1)


def test_images_have_the_distortions_shapes():
    for data, distortion in DISTORTIONS.items():
        config = classifiers.describe(ClassifierRun(data, 'fixed', 1., 0))
        results = dict(img=np.zeros((28, 28), np.uint8), gt_label=0)
        for transform in config.train_dataloader.dataset.pipeline:
            results = TRANSFORMS.build(transform)(results)
        assert results['inputs'].shape[1:] == distortion.shape


@pytest.mark.parametrize('method', ['adaptor', 'dynopool', 'learner'])
def test_methods_that_learn_end_at_the_same_cost(method):
    """By the hook alone; the optimizer knows of alpha where the gradient is straight through."""
    stock = MODELS.build(classifiers.describe(ClassifierRun('tiled', 'fixed', 1., 0)).model)
    config = classifiers.describe(ClassifierRun('tiled', method, 0.6, 0))
    hook, = config.custom_hooks
    assert hook.gmacs_budget == dict(target_gmacs=0.6 * count_network_gmacs(stock, (40, 40)))
    assert counted_shape(config) == (40, 40)
    learner = method == 'learner'
    assert hook.get('gradient') == (None if learner else 'straight_through')
    assert ('paramwise_cfg' in config.optim_wrapper) == (not learner)
    kinds = {type(pool).__name__ for pool in all_pools(MODELS.build(config.model)).values()}
    assert kinds == {'ShapeAdaptor' if method == 'adaptor' else 'DynOPool'}


def test_what_version_0_3_trained_is_refused():
    with pytest.raises(ValueError, match=r'vgg/plain/measured/1/seed2: version 0\.3 trained this'):
        classifiers.describe(ClassifierRun('plain', 'measured', 1., 2))


def test_one_run_from_config_to_line(tmp_path, monkeypatch):
    """On made-up files in Fashion-MNIST's format; the scales of one are those of the next."""
    folder = tmp_path / 'data' / 'fashion_mnist'
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for prefix, count in (('train', 64), ('t10k', 16)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        for name, array, code in (('images-idx3', images, 0x803), ('labels-idx1', labels, 0x801)):
            header = np.array([code, *array.shape], '>i4').tobytes()
            (folder / f'{prefix}-{name}-ubyte').write_bytes(header + array.tobytes())
    short = tmp_path / 'short.py'
    short.write_text(f"""
_base_ = {str(ROOT / 'configs/classification/evidence_vgg_fashion.py')!r}
train_dataloader = dict(batch_size=8, dataset=dict(indices=32))
val_dataloader = dict(batch_size=8, dataset=dict(indices=16))
train_cfg = dict(max_iters=16, val_interval=16)
""")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(classifiers, 'CONFIG', short)
    line = classifiers.finish(ClassifierRun('stretched_w', 'learner', 0.6, 1), tmp_path / 'work')
    assert line['key'] == 'vgg/stretched_w/learner/0.6/seed1'
    assert line['gmacs_ratio'] == pytest.approx(0.6, rel=0.1) and 0 <= line['accuracy'] <= 100
    assert line['accuracy'] * 16 / 100 == pytest.approx(round(line['accuracy'] * 16 / 100))
    assert set(line['scales']) == {'stride2', 'stride4'}
    again = classifiers.finish(ClassifierRun('stretched_w', 'retrained', 0.6, 1),
                               tmp_path / 'work', line['scales'])
    assert again['gmacs_ratio'] == pytest.approx(line['gmacs_ratio'], rel=1e-6)
    assert again['scales'] == {name: pytest.approx(s, abs=1e-3)
                               for name, s in line['scales'].items()}
    assert not list((tmp_path / 'work').rglob('*.txt'))
    assert Config.fromfile(short).model.type == 'ImageClassifier'
