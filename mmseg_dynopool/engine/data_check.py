"""Look at the data before a run starts, not after an hour of it."""

from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

_SHOWN = 5


def check_data(cfg: Config, *dataloaders: str) -> None:
    """Check that the data sets of a config are there and every image has its label map.

    Args:
        cfg: the config.
        dataloaders: names of its data loaders, e.g. ``'train_dataloader'``.

    Raises:
        ValueError: a folder is missing, a data set is empty or label maps are missing; the
            message names them.
    """
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    for name in dataloaders:
        if cfg.get(name) is not None:
            for dataset in _plain_datasets(cfg[name].dataset):
                _check_folders(name, dataset)
                _check_pairs(name, dataset)


def _plain_datasets(dataset) -> list:
    """The data sets inside wrappers such as ConcatDataset and RepeatDataset."""
    if 'datasets' in dataset:
        return [plain for part in dataset.datasets for plain in _plain_datasets(part)]
    if 'dataset' in dataset:
        return _plain_datasets(dataset.dataset)
    return [dataset]


def _check_folders(name: str, dataset) -> None:
    root = dataset.get('data_root') or ''
    if '://' in root:  # an object store
        return
    named = {key: Path(root, prefix or '')
             for key, prefix in (dataset.get('data_prefix') or {}).items()}
    for key, folder in named.items():
        if not folder.is_dir():
            raise ValueError(f'{name}: the folder {str(folder)!r} ({key}) does not exist; see '
                             f'"Data" in the README, or set {name}.dataset.data_root')
    if dataset.get('ann_file') and not Path(root, dataset['ann_file']).is_file():
        raise ValueError(f'{name}: the list {str(Path(root, dataset["ann_file"]))!r} (ann_file) '
                         'does not exist; see "Data" in the README')


def _check_pairs(name: str, dataset) -> None:
    # Without its pipeline the data set lists its files and reads none.
    listed = DATASETS.build({**dataset, 'pipeline': [], 'lazy_init': True})
    infos = listed.load_data_list()
    if not infos:
        raise ValueError(f'{name}: the data set is empty: no {listed.img_suffix!r} files in '
                         f'{listed.data_prefix.get("img_path")!r}')
    for key, lack in (('img_path', 'listed images do not exist'),
                      ('seg_map_path', 'images have no label map')):
        paths = [info[key] for info in infos if info.get(key)]
        missing = [path for path in paths if '://' not in path and not Path(path).is_file()]
        if missing:
            more = f' and {len(missing) - _SHOWN} more' if len(missing) > _SHOWN else ''
            raise ValueError(f'{name}: {len(missing)} of {len(infos)} {lack}; '
                             f'missing: {", ".join(missing[:_SHOWN])}{more}')
