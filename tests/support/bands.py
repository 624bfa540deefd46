"""A project that is not mmseg's: 12 bands in arrays, a loader, data sets and a head of its own.

The config names each type by its package or holds the class, and has no default scope.
"""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.runner import Runner
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.models import EncoderDecoder, FCNHead, ResNet
from torch.utils.data import Dataset

BANDS = 12
SIZE = (48, 64)


def write_bands(root, count=4):
    """``images/SPLIT/N.npy`` (H, W, 12), float32, and ``labels/SPLIT/N.png``, where they are high.
    """
    generator = np.random.default_rng(0)
    for split in ('train', 'val'):
        for folder in ('images', 'labels'):
            (root / folder / split).mkdir(parents=True)
        for k in range(count):
            label = np.zeros(SIZE, np.uint8)
            y, x = generator.integers((0, 0), (24, 32))
            label[y:y + 24, x:x + 32] = 1
            bands = label[..., None] + generator.normal(0, 0.3, (*SIZE, BANDS))
            np.save(root / 'images' / split / f'{k}.npy', bands.astype(np.float32))
            assert cv2.imwrite(str(root / 'labels' / split / f'{k}.png'), label)
    return root


class ReadBands(BaseTransform):
    """A loader of one's own, whose name begins with no Load."""

    def transform(self, results):
        results['img'] = np.load(results['img_path'])
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results


class ColorsToClasses(BaseTransform):
    """Makes class 1 of red."""

    def transform(self, results):
        results['gt_seg_map'] = (results['gt_seg_map'][..., 0] == 255).astype(np.uint8)
        return results


class BandsDataset(BaseSegDataset):
    METAINFO = dict(classes=('field', 'house'), palette=[[0, 0, 0], [200, 40, 40]])

    def __init__(self, img_suffix='.npy', **options):
        super().__init__(img_suffix=img_suffix, **options)

    def houses(self):
        return [3, 1]  # by their indices


class Twice(Dataset):
    """A wrapper that hands its data set to a ``source`` of another name."""

    def __init__(self, source):
        self.source = BandsDataset(**{k: v for k, v in source.items() if k != 'type'})
        self.metainfo = self.source.metainfo

    def __len__(self):
        return 2 * len(self.source)

    def __getitem__(self, index):
        return self.source[index % len(self.source)]


class HouseSampler(DefaultSampler):
    """Asks for the kind of its data set, and for what mmengine's have not."""

    def __init__(self, dataset, **options):
        assert isinstance(dataset, BandsDataset)
        super().__init__(dataset, **options)
        self.chosen = dataset.houses()

    def __iter__(self):
        return iter(self.chosen)

    def __len__(self):
        return len(self.chosen)


class OwnRunner(Runner):
    """mmseg's tools build it by ``runner_type``."""

    def train(self):
        self.logger.info('a runner of its own trains')
        return super().train()


class Worded(ResNet):
    """``pretrained`` is a word, which the class knows, and no file."""

    def __init__(self, pretrained, **options):
        assert pretrained == 'dino'
        super().__init__(**options)


class CountsFromOne(FCNHead):
    """Its labels are 1 and 2."""

    def loss_by_feat(self, logits, samples):
        for sample in samples:
            sample.gt_sem_seg.data = sample.gt_sem_seg.data - 1
        return super().loss_by_feat(logits, samples)


class Inverted(EncoderDecoder):
    """Post-processing of one's own, by an option of one's own."""

    def __init__(self, *args, invert=True, **options):
        super().__init__(*args, **options)
        self.invert = invert

    def postprocess_result(self, seg_logits, data_samples=None):
        return super().postprocess_result(-seg_logits if self.invert else seg_logits, data_samples)


def bands_config(root, **settings):
    """The config of a training of two iterations, with a checkpoint after each."""
    pipeline = [dict(type=ReadBands), dict(type=LoadAnnotations),
                dict(type='mmseg.PackSegInputs')]

    def loader(split, sampler):
        return dict(batch_size=2, num_workers=0, sampler=dict(type=sampler), dataset=dict(
            type='support.bands.BandsDataset', data_root=str(root), pipeline=pipeline,
            data_prefix=dict(img_path=f'images/{split}', seg_map_path=f'labels/{split}')))

    evaluator = dict(type='mmseg.IoUMetric', iou_metrics=['mIoU'])
    cfg = Config(dict(
        default_scope=None,
        model=dict(
            type='DynOPoolEncoderDecoder', dynopool=dict(rule='before'),
            data_preprocessor=dict(type='mmseg.SegDataPreProcessor', size=SIZE),
            backbone=dict(type='mmseg.ResNet', depth=18, in_channels=BANDS, base_channels=8),
            decode_head=dict(
                type='mmseg.FCNHead', in_channels=64, channels=8, num_classes=2, out_channels=1,
                threshold=0.5, loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True)),
            test_cfg=dict(mode='whole')),
        train_dataloader=loader('train', 'InfiniteSampler'),
        val_dataloader=loader('val', 'DefaultSampler'),
        test_dataloader=loader('val', 'DefaultSampler'),
        val_evaluator=evaluator, test_evaluator=evaluator,
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.01)),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2),
        val_cfg=dict(type='ValLoop'), test_cfg=dict(type='TestLoop'),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1,
                                           save_best='mIoU')),
        log_processor=dict(by_epoch=False)))
    cfg.merge_from_dict(settings)
    return cfg
