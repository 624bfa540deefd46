"""Toy networks for the conversion, each with one structure that occurs in real ones."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint


def conv(inputs, outputs, kernel=3, stride=1, padding=None, **options):
    padding = kernel // 2 if padding is None else padding
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, **options)


def randomize(model, seed=0):
    """Norms and convolutions of all sizes, so that no two channels and no two signs are alike."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.running_mean.normal_(generator=generator)
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(generator=generator)
    return model


def as_list(outputs):
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]


def set_scales(model, **scales):
    with torch.no_grad():
        for name, scale in scales.items():
            model.dynopools[name].alpha.copy_(1 / torch.tensor(scale).expand(2))
    return model


def map_sizes(model, size, channels=3):
    """``{module: [(H, W) of the output of each call]}`` of a forward pass that really runs."""
    sizes, handles = {}, []
    for name, module in model.named_modules():
        handles.append(module.register_forward_hook(
            lambda _, args, output, name=name: sizes.setdefault(name, []).append(
                tuple(output.shape[-2:])) if isinstance(output, torch.Tensor) else None))
    with torch.no_grad():
        model(torch.zeros(1, channels, *size))
    for handle in handles:
        handle.remove()
    return sizes


class Run(nn.Module):
    """Layers by name, and a function of them and of the image."""

    def __init__(self, run, **layers):
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.run(self, x)


class Block(nn.Module):
    """A residual block as ResNet's, whose input is pooled twice where it strides."""

    def __init__(self, inputs, outputs, stride=1, act=None, average=False, cp=None):
        super().__init__()
        self.conv1 = conv(inputs, outputs, 3, stride, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = conv(outputs, outputs, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.act = act or nn.ReLU()
        self.down = None
        if stride > 1 or inputs != outputs:
            self.down = nn.Sequential(
                nn.AvgPool2d(stride) if average else nn.Identity(),
                conv(inputs, outputs, 1, 1 if average else stride, bias=False),
                nn.BatchNorm2d(outputs))
        self.cp = cp

    def _forward(self, x):
        y = self.bn2(self.conv2(self.act(self.bn1(self.conv1(x)))))
        return self.act(y + (x if self.down is None else self.down(x)))

    def forward(self, x):
        if self.cp is None:
            return self._forward(x)
        return checkpoint(self._forward, x, use_reentrant=self.cp == 'reentrant')


class ToyResNet(nn.Module):
    """Strided stem, max pooling, three residual blocks, total stride 16."""

    def __init__(self, width=4, average=False, cp=None):
        super().__init__()
        self.conv1 = conv(3, width, 7, 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = Block(width, width, cp=cp)
        self.layer2 = Block(width, 2 * width, 2, average=average, cp=cp)
        self.layer3 = Block(2 * width, 4 * width, 2, average=average, cp=cp)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        outputs = []
        for layer in (self.layer1, self.layer2, self.layer3):
            x = layer(x)
            outputs.append(x)
        return outputs


class ToyUNet(nn.Module):
    """One pooling module for all levels; skips that are concatenated; fixed upsampling."""

    def __init__(self, width=4, up='upsample', cp=None):
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.enc1, self.enc2, self.enc3 = (
            conv(3, width), conv(width, 2 * width), conv(2 * width, 4 * width))

        def upsampling(channels):
            if up == 'upsample':
                return nn.Upsample(scale_factor=2, mode='bilinear')
            if up == 'nearest':
                return nn.Upsample(scale_factor=2)
            return nn.ConvTranspose2d(channels, channels, 2, 2)

        self.up2, self.up1 = upsampling(4 * width), upsampling(2 * width)
        self.dec2, self.dec1 = conv(6 * width, 2 * width), conv(3 * width, width)
        self.cp = cp

    def _run(self, function, x):
        if self.cp is None:
            return function(x)
        return checkpoint(function, x, use_reentrant=self.cp == 'reentrant')

    def forward(self, x):
        x1 = F.relu(self.enc1(x))
        x2 = self._run(lambda x: F.relu(self.enc2(self.pool(x))), x1)
        x3 = self._run(lambda x: F.relu(self.enc3(self.pool(x))), x2)
        y2 = F.relu(self.dec2(torch.cat([self.up2(x3), x2], 1)))
        return self.dec1(torch.cat([self.up1(y2), x1], 1))


class Attention(nn.Module):
    """Self-attention over tokens, whose keys are reduced by a strided convolution (PVT)."""

    def __init__(self, dim, ratio):
        super().__init__()
        self.q, self.kv = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim)
        self.sr = nn.Conv2d(dim, dim, ratio, ratio)

    def forward(self, x, size):
        n, _, c = x.shape
        keys = self.sr(x.transpose(1, 2).reshape(n, c, *size)).flatten(2).transpose(1, 2)
        k, v = self.kv(keys).chunk(2, -1)
        return (self.q(x) @ k.transpose(1, 2)).softmax(-1) @ v


class TokenStage(nn.Module):
    """Patch embedding, then tokens (N, HW, C) with a residual, then a map again (PVT)."""

    def __init__(self, inputs, dim, patch, ratio, overlap=False):
        super().__init__()
        self.proj = conv(inputs, dim, 2 * patch - 1, patch) if overlap else nn.Conv2d(
            inputs, dim, patch, patch)
        self.norm, self.attn = nn.LayerNorm(dim), Attention(dim, ratio)

    def forward(self, x):
        x = self.proj(x)
        size = x.shape[-2:]
        x = x.flatten(2).transpose(1, 2)
        x = x + self.attn(self.norm(x), size)
        return x.transpose(1, 2).reshape(len(x), -1, *size)


class ChannelsLast(nn.Module):
    """A ConvNeXt block: depthwise, then norm and linear layers on (N, H, W, C)."""

    def __init__(self, dim):
        super().__init__()
        self.depthwise = conv(dim, dim, 7, groups=dim)
        self.norm, self.linear = nn.LayerNorm(dim), nn.Linear(dim, dim)

    def forward(self, x):
        y = self.linear(self.norm(self.depthwise(x).permute(0, 2, 3, 1)))
        return x + F.gelu(y).permute(0, 3, 1, 2)


class Gate(nn.Module):
    """Squeeze and excite."""

    def __init__(self, channels):
        super().__init__()
        self.reduce, self.expand = conv(channels, 2, 1), conv(2, channels, 1)

    def forward(self, x):
        gate = self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True))))
        return x * gate.sigmoid()


class SamePadConv(nn.Conv2d):
    """Pads in its own forward pass to ceil(H / stride), as EfficientNet's 'SAME'."""

    def forward(self, x):
        pad = []
        for n, k, s in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1]):
            total = max(0, (-(-n // s) - 1) * s + k - n)
            pad += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pad))
