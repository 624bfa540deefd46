"""Every model file that mmseg ships learns its resolutions by the lines of docs/adopt.md.

They are written as a user writes them, over the file as it is, ``pretrained`` included. A model is
converted, or refused by the name of a module and a mend; it may be left out only where the stock
model itself does not run here.
"""

import logging
from pathlib import Path

import mmseg
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import MODELS
from torch.utils.data import Dataset

from mmseg_dynopool.layers import learned_pools

pytestmark = pytest.mark.shipped
FOLDER = Path(mmseg.__file__).parent / '.mim/configs/_base_/models'
FILES = sorted(FOLDER.glob('*.py'))
SIZE, COUNTED = (64, 64), (256, 256)
OURS = dict(EncoderDecoder='DynOPoolEncoderDecoder',
            CascadeEncoderDecoder='DynOPoolCascadeEncoderDecoder')
# Module and reason of those that cannot be converted.
REFUSED = {
    'icnet_r50-d8': 'the model itself: interpolation reduces 704 x 832 to 352 x 416; use a strided',
    'lraspp_m-v3-d8': r'decode_head.image_pool.0 takes features of the stock sizes alone: .* use',
    'upernet_beit': 'layers.0.attn fails for an image of 3 x 704 x 832 .* use a backbone that',
    'upernet_mae': 'MAE: its forward fails for an image of 3 x 704 x 832 .* use a backbone that'}
# What this stack, or a file without its data set and packages, does not run: the test sees to it
# that these do not run without us either.
STOCK_FAILS = {'ccnet_r50-d8', 'fpn_poolformer_s12', 'pointrend_r50', 'psanet_r50-d8',
               'san_vit-b16', 'upernet_convnext', 'vpd_sd'}
# What mmseg's own configs set for the crop that they train at.
SETTINGS = {
    **{f'{head}_unet_s5-d16': dict(test_cfg=dict(crop_size=(64, 64), stride=(42, 42)))
       for head in ('deeplabv3', 'fcn', 'pspnet')},
    'upernet_beit': dict(backbone=dict(img_size=(64, 64))),
    'upernet_mae': dict(backbone=dict(img_size=(64, 64)))}
SIZES = {'lraspp_m-v3-d8': (512, 512)}
LINES = '''
_base_ = {base!r}
custom_imports = dict(imports=['mmseg_dynopool'], allow_failed_imports=False)
{model}
custom_hooks = [dict(type='DynOPoolHook', gmacs_budget=dict(target=0.8), gmacs_shape={counted})]
'''
SHORT = "model = dict(type='{ours}', dynopool=dict(rule='before', image=True))"
LONG = ("model = dict(backbone=dict(_delete_=True, type='DynOPoolBackbone', "
        "backbone={{{{_base_.model.backbone}}}}, dynopool=dict(rule='before', image=True)))")


class TwoSteps(Hook):
    """Ends a training that is planned longer: a budget settles at its end, by many counts."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        runner.train_loop.stop_training = runner.iter == 1


class Noise(Dataset):
    """Two images of noise with labels of two classes."""

    METAINFO = dict(classes=('a', 'b'), palette=[[0, 0, 0], [255, 255, 255]])
    metainfo = METAINFO

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return 2

    def __getitem__(self, index):
        from mmseg.datasets.transforms import PackSegInputs
        draw = np.random.default_rng(index)
        size = self.size
        label = draw.integers(0, 2, size).astype(np.uint8)
        return PackSegInputs(meta_keys=('img_shape', 'ori_shape', 'pad_shape'))(dict(
            img=draw.integers(0, 255, (*size, 3)).astype(np.uint8), gt_seg_map=label,
            gt_edge_map=label, img_shape=size, ori_shape=size, pad_shape=size,
            seg_fields=['gt_seg_map', 'gt_edge_map']))


def loader(size):
    return dict(dataset=Noise(size), batch_size=2, num_workers=0,
                sampler=dict(type='InfiniteSampler', shuffle=False),
                collate_fn=dict(type='pseudo_collate'))


def run(cfg, work_dir, size):
    """Two steps of a training, and the prediction of an image; returns the model."""
    # mmseg's data set files and schedules add these; without init_weights nothing is downloaded.
    cfg.setdefault('data_preprocessor', dict(type='SegDataPreProcessor'))
    cfg.data_preprocessor.update(size=size, size_divisor=None, seg_pad_val=255)
    cfg.model.data_preprocessor = cfg.data_preprocessor
    runner = Runner(
        model=MODELS.build(cfg.model), work_dir=str(work_dir), train_dataloader=loader(size),
        train_cfg=dict(by_epoch=False, max_iters=20),
        custom_hooks=[*cfg.get('custom_hooks', ()), TwoSteps()],
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-3)), default_scope='mmseg',
        log_level='ERROR', experiment_name=str(work_dir).replace('/', '-'),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', save_last=False)))
    runner.model.init_weights = lambda: None
    runner.train()
    assert runner.iter == 2
    data = runner.model.data_preprocessor(
        {key: [value] for key, value in Noise(size)[0].items()})
    with torch.no_grad():
        runner.model.eval()
        sample, = runner.model(**data, mode='predict')
    assert sample.pred_sem_seg.data.shape == (1, *size)
    return runner.model


@pytest.fixture(autouse=True)
def quiet():
    yield
    logging.shutdown()


@pytest.mark.parametrize('path', FILES, ids=[path.stem for path in FILES])
def test_a_shipped_model(path, tmp_path):
    size = SIZES.get(path.stem, SIZE)
    if path.stem in STOCK_FAILS:
        with pytest.raises(Exception):  # noqa: B017 (of any type: packages are missing)
            run(Config.fromfile(path), tmp_path, size)
        pytest.skip('the stock model does not run')
    stock = Config.fromfile(path)
    # Half of the files by the short form, half by the one for any segmentor.
    is_short = FILES.index(path) % 2 == 0 and stock.model.type in OURS
    lines = (SHORT if is_short else LONG).format(ours=OURS.get(stock.model.type))
    user = tmp_path / 'user.py'
    user.write_text(LINES.format(base=str(path), model=lines, counted=COUNTED))
    cfg = Config.fromfile(user)
    settings = dict(SETTINGS.get(path.stem, {}))
    if not is_short and 'backbone' in settings:
        settings['backbone'] = dict(backbone=settings['backbone'])
    cfg.merge_from_dict(dict(model=settings))
    assert cfg.model.get('pretrained') == stock.model.get('pretrained')
    refused = REFUSED.get(path.stem)
    if refused:
        with pytest.raises(ValueError, match=refused):
            run(cfg, tmp_path, size)
        return
    model = run(cfg, tmp_path, size)
    assert model.backbone.dynopools and learned_pools(model)


def test_all_files_are_tried():
    """A count of those left out, so that a new release of mmseg is noticed."""
    assert len(FILES) == 50
    assert {path.stem for path in FILES} >= STOCK_FAILS
