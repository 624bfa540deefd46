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

FOLDER = Path(mmseg.__file__).parent / '.mim/configs/_base_/models'
FILES = sorted(FOLDER.glob('*.py'))
SIZE, COUNTED = (64, 64), (256, 256)
OURS = dict(EncoderDecoder='DynOPoolEncoderDecoder',
            CascadeEncoderDecoder='DynOPoolCascadeEncoderDecoder')
# Module and reason of those that cannot be converted.
REFUSED = dict(
    icnet_r50_d8='the model itself: interpolation reduces 704 x 832 to 352 x 416; use a strided',
    upernet_swin='stages.0.downsample.sampler: .* gets another shape by .* or skip the strided')
# What this stack, or a file without its data set and packages, does not run: the test sees to it
# that these do not run without us either.
STOCK_FAILS = {
    'ccnet_r50-d8', 'deeplabv3_unet_s5-d16', 'fcn_unet_s5-d16', 'fpn_poolformer_s12',
    'lraspp_m-v3-d8', 'pointrend_r50', 'psanet_r50-d8', 'pspnet_unet_s5-d16', 'san_vit-b16',
    'upernet_beit', 'upernet_convnext', 'upernet_mae', 'vpd_sd'}
LINES = '''
_base_ = {base!r}
custom_imports = dict(imports=['mmseg_dynopool'], allow_failed_imports=False)
{model}
custom_hooks = [dict(type='DynOPoolHook', gmacs_budget=dict(target=0.8), gmacs_shape={counted})]
'''
SHORT = "model = dict(type='{ours}', dynopool=dict(rule='before'))"
LONG = ("model = dict(backbone=dict(_delete_=True, type='DynOPoolBackbone', "
        "backbone={{{{_base_.model.backbone}}}}, dynopool=dict(rule='before')))")


class TwoSteps(Hook):
    """Ends a training that is planned longer: a budget settles at its end, by many counts."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        runner.train_loop.stop_training = runner.iter == 1


class Noise(Dataset):
    """Two images of noise with labels of two classes."""

    METAINFO = dict(classes=('a', 'b'), palette=[[0, 0, 0], [255, 255, 255]])
    metainfo = METAINFO

    def __len__(self):
        return 2

    def __getitem__(self, index):
        from mmseg.datasets.transforms import PackSegInputs
        draw = np.random.default_rng(index)
        label = draw.integers(0, 2, SIZE).astype(np.uint8)
        return PackSegInputs(meta_keys=('img_shape', 'ori_shape', 'pad_shape'))(dict(
            img=draw.integers(0, 255, (*SIZE, 3)).astype(np.uint8), gt_seg_map=label,
            gt_edge_map=label, img_shape=SIZE, ori_shape=SIZE, pad_shape=SIZE,
            seg_fields=['gt_seg_map', 'gt_edge_map']))


def loader(training):
    return dict(dataset=Noise(), batch_size=2, num_workers=0,
                sampler=dict(type='InfiniteSampler' if training else 'DefaultSampler',
                             shuffle=False), collate_fn=dict(type='pseudo_collate'))


def run(cfg, work_dir):
    """Two steps of a training, and the prediction of an image; returns the model."""
    # mmseg's data set files and schedules add these; without init_weights nothing is downloaded.
    cfg.setdefault('data_preprocessor', dict(type='SegDataPreProcessor'))
    cfg.data_preprocessor.update(size=SIZE, size_divisor=None, seg_pad_val=255)
    cfg.model.data_preprocessor = cfg.data_preprocessor
    runner = Runner(
        model=MODELS.build(cfg.model), work_dir=str(work_dir), train_dataloader=loader(True),
        train_cfg=dict(by_epoch=False, max_iters=20),
        custom_hooks=[*cfg.get('custom_hooks', ()), TwoSteps()],
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-3)), default_scope='mmseg',
        log_level='ERROR', experiment_name=str(work_dir).replace('/', '-'),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', save_last=False)))
    runner.model.init_weights = lambda: None
    runner.train()
    assert runner.iter == 2
    data = runner.model.data_preprocessor(
        dict(inputs=[Noise()[0]['inputs']], data_samples=[Noise()[0]['data_samples']]))
    with torch.no_grad():
        runner.model.eval()
        sample, = runner.model(**data, mode='predict')
    assert sample.pred_sem_seg.data.shape == (1, *SIZE)
    return runner.model


@pytest.fixture(autouse=True)
def quiet():
    yield
    logging.shutdown()


@pytest.mark.parametrize('path', FILES, ids=[path.stem for path in FILES])
def test_a_shipped_model(path, tmp_path):
    stock = Config.fromfile(path, lazy_import=False) if path.stem not in STOCK_FAILS else None
    if stock is None:
        with pytest.raises(Exception):  # noqa: B017 (of any type: packages are missing)
            run(Config.fromfile(path), tmp_path)
        pytest.skip('the stock model does not run')
    # Half of the files by the short form, half by the one for any segmentor.
    is_short = FILES.index(path) % 2 == 0 and stock.model.type in OURS
    lines = (SHORT if is_short else LONG).format(ours=OURS.get(stock.model.type))
    user = tmp_path / 'user.py'
    user.write_text(LINES.format(base=str(path), model=lines, counted=COUNTED))
    cfg = Config.fromfile(user)
    assert cfg.model.get('pretrained') == stock.model.get('pretrained')
    refused = REFUSED.get(path.stem.replace('-', '_'))
    if refused:
        with pytest.raises(ValueError, match=refused):
            MODELS.build(cfg.model)
        return
    model = run(cfg, tmp_path)
    assert model.backbone.dynopools and learned_pools(model)


def test_all_files_are_tried():
    """A count of those left out, so that a new release of mmseg is noticed."""
    assert len(FILES) == 50
    assert {path.stem for path in FILES} >= STOCK_FAILS
