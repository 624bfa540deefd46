"""mmseg's inference on an ONNX file."""

import copy
import json
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmseg.models.segmentors import BaseSegmentor, EncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_dynopool.config import enter_scope, find_type
from mmseg_dynopool.layers import FixedImageResize


class OnnxSegmentor(EncoderDecoder):
    """A segmentor for ``mmseg.apis.inference_model`` whose network is an ONNX file.

    Pipeline, normalization, sliding windows and post-processing are those of the network's config.
    A user's own segmentor class is built for its ``predict`` and ``postprocess_result``, which must
    not need weights. If the program takes resized images, the image is resized as by the network,
    and the logits to the image's size.

    Args:
        path: file that [`export_program`][mmseg_dynopool.export.export_program] wrote.
        cfg: the config of the exported network.

    Raises:
        ValueError: the file is not such an ONNX file.
        ImportError: onnxruntime is missing.

    Examples:
        >>> import tempfile
        >>> import torch
        >>> from mmengine import Config
        >>> from mmseg.registry import MODELS
        >>> from mmseg_dynopool.export import OnnxSegmentor, export_program
        >>> cfg = Config(dict(model=dict(
        ...     type='DynOPoolEncoderDecoder', dynopool=dict(rule='before'),
        ...     backbone=dict(type='ResNet', depth=18, base_channels=8),
        ...     decode_head=dict(type='FCNHead', in_channels=64, channels=8, num_classes=19),
        ...     test_cfg=dict(mode='whole'))))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     rows = export_program(MODELS.build(cfg.model), f'{folder}/net.onnx', (64, 96))
        ...     segmentor = OnnxSegmentor(f'{folder}/net.onnx', cfg)
        >>> segmentor.encode_decode(torch.rand(1, 3, 64, 96), [{}]).shape
        torch.Size([1, 19, 64, 96])
    """

    def __init__(self, path: str | Path, cfg: Config):
        enter_scope(cfg)  # as mmseg's init_model does
        # The network that EncoderDecoder's constructor would build is in the file.
        BaseSegmentor.__init__(self, data_preprocessor=cfg.model.get('data_preprocessor'))
        if not Path(path).is_file():
            raise ValueError(f'there is no ONNX file {str(path)!r}; tools/export.py writes one')
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError('ONNX files need the package onnxruntime: '
                              "pip install 'mmseg_dynopool[export]'") from error
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), providers=onnxruntime.get_available_providers())
        except Exception as error:  # onnxruntime has no common base of its errors
            raise ValueError(f'{path} cannot be read as an ONNX file ({error}); the download or '
                             'copy may have been cut off') from error
        found = self.session.get_modelmeta().custom_metadata_map.get('mmseg_dynopool')
        if found is None:
            raise ValueError(f'{path} was not written by tools/export.py: it names no classes')
        meta = json.loads(found)
        self.shape = meta['shape']
        self.out_channels = meta['out_channels']
        self.num_classes = meta['num_classes']
        self.align_corners = meta['align_corners']
        self.dataset_meta = meta['dataset_meta']
        self.resize: FixedImageResize | None = None
        if meta.get('resize'):  # version 0.3 wrote none
            self.resize = FixedImageResize(multiple=meta['resize']['multiple'])
            self.resize.set_alpha_(meta['resize']['alpha'])
        self.decode_head = SimpleNamespace(threshold=meta['threshold'])
        self.test_cfg = cfg.model.test_cfg
        self.cfg = cfg
        self.eval()
        kind = find_type(MODELS, cfg.model)
        if any(getattr(kind, name, None) not in (None, getattr(EncoderDecoder, name))
               for name in ('predict', 'inference', 'postprocess_result')):
            own = MODELS.build(copy.deepcopy(cfg.model)).to('meta')  # without the weights' numbers
            own.eval()
            own.encode_decode = self.encode_decode
            self.__dict__['predict'] = own.predict  # no submodule of this one

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits ``(N, classes, H, W)`` of normalized images ``(N, C, H, W)``.

        Raises:
            ValueError: the file was exported for one size, and this is another.
        """
        size = list(inputs.shape[2:])
        if self.shape is not None and (size != self.shape or len(inputs) != 1):
            raise ValueError(
                f'the ONNX file takes one image of {self.shape[0]} x {self.shape[1]}, got '
                f'{len(inputs)} of {size[0]} x {size[1]}; export with --dynamic, or let the '
                "pipeline resize to the file's size")
        images = inputs.cpu().float()
        if self.resize is not None:
            images = self.resize(images)
        logits = torch.from_numpy(self.session.run(None, {'image': images.numpy()})[0])
        if list(logits.shape[2:]) != size:
            logits = F.interpolate(logits, size, mode='bilinear', align_corners=self.align_corners)
        return logits.to(inputs.device)
