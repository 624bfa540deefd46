"""Label values that are no class, found batch by batch."""

from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_dynopool.data.labels import describe_strays, label_range, stray_labels
from mmseg_dynopool.layers.find import unwrap


@HOOKS.register_module()
class LabelCheckHook(Hook):
    """Stops at the first batch with a label that is no class, and names value and file.

    Looks at the batch where the data loader left it, on the CPU: no device has to wait.

    Raises:
        ValueError: a label is out of range.
    """

    def _before_iter(self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None,
                     mode: str = 'train') -> None:
        allowed = label_range(unwrap(runner.model))
        samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
        for sample in samples or []:
            label = getattr(sample, 'gt_sem_seg', None)
            strays = [] if label is None else stray_labels(label.data, allowed)
            if allowed and strays:
                path = sample.get('seg_map_path', 'of this batch')
                raise ValueError(f'{mode}, iteration {runner.iter + 1}: '
                                 f'{describe_strays(path, strays, allowed)}')
