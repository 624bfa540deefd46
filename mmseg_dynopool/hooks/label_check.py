"""Label values that are not a class, found batch by batch."""

from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

from mmseg_dynopool.data.labels import label_range
from mmseg_dynopool.models.whole_network import unwrap


@HOOKS.register_module()
class LabelCheckHook(Hook):
    """Stops at the first batch with a label that is not a class, and names value and file.

    Warns, once, if no loss of mmseg would fail on it: in a validation or test, or if the loss takes
    other labels. Heads that compute their loss in their own way are left alone.

    Raises:
        ValueError: a label is out of range.

    Examples:
        >>> from types import SimpleNamespace as Namespace
        >>> import torch
        >>> from mmengine.structures import PixelData
        >>> from mmseg.structures import SegDataSample
        >>> from mmseg_dynopool.hooks import LabelCheckHook  # custom_hooks: type='LabelCheckHook'
        >>> label = PixelData(data=torch.tensor([[[0, 1], [2, 7]]]))
        >>> sample = SegDataSample(gt_sem_seg=label, metainfo=dict(seg_map_path='a.png'))
        >>> runner = Namespace(model=Namespace(decode_head=Namespace(num_classes=3)), iter=0)
        >>> try:
        ...     LabelCheckHook().before_train_iter(runner, 0, dict(data_samples=[sample]))
        ... except ValueError as error:
        ...     print(str(error).partition('. ')[0])
        train, iteration 1: the label map a.png holds 7, but decode_head.num_classes=3 allows
        0 to 2, and 255 for pixels to ignore
    """

    def __init__(self) -> None:
        self.has_warned = False

    def _before_iter(self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None,
                     mode: str = 'train') -> None:
        allowed = label_range(unwrap(runner.model))
        samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
        for sample in samples or []:
            label = getattr(sample, 'gt_sem_seg', None)
            if label is None or allowed is None or not isinstance(label.get('data'), Tensor):
                continue
            path = sample.get('seg_map_path', 'of this batch')
            if problem := allowed.problem(label.data.cpu(), path):
                problem = f'{mode}, iteration {runner.iter + 1}: {problem}'
                if mode == 'train' and allowed.is_index:
                    raise ValueError(problem)
                if not self.has_warned:
                    runner.logger.warning(problem)
                self.has_warned = True
