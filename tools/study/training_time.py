"""What a training with a budget takes by the clock, beside the stock network's of as many steps.

Steps of both alternate, so that a busy machine slows both alike. The plan is that of the whole
training, in few steps; so is the share of estimates, unless --every is raised to what it is in a
long one.
"""

import argparse

import numpy as np
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from benchmark import label_maps
from mmseg_dynopool import config_path
from mmseg_dynopool.analysis.cost import stock_model
from mmseg_dynopool.cli.options import add_device, check_device, positive_int
from mmseg_dynopool.config import enter_scope, replace_sync_bn
from mmseg_dynopool.costs import device_name, probe_complexity, time_alternately
from mmseg_dynopool.export.freeze import plain_model
from mmseg_dynopool.learning import ScaleLearner
from mmseg_dynopool.models.whole_network import network_forward


def step_of(model, batch):
    """A step of the training by SGD, and the loss alone."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def loss():
        return model.parse_losses(model.loss(*batch))[0]

    def step():
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step, loss


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', nargs='?', default='hrnet_w48_image_dynopool_cityscapes.py')
    parser.add_argument('--shape', type=positive_int, nargs=2, default=(512, 1024))
    parser.add_argument('--batch', type=positive_int, default=1)
    parser.add_argument('--steps', type=positive_int, default=20)
    parser.add_argument('--every', type=positive_int, default=2)
    parser.add_argument('--target', type=float, default=0.5)
    add_device(parser)
    args = parser.parse_args()
    check_device(args.device)
    config = Config.fromfile(config_path(args.config))
    enter_scope(config)
    replace_sync_bn(config.model)
    image = torch.rand(args.batch, 3, *args.shape, device=args.device)
    batch = image, label_maps(args.batch, args.shape, args.device)
    stock, learned = (MODELS.build(cfg).to(args.device).train()
                      for cfg in (stock_model(config.model), plain_model(config.model)))
    channels, forward = network_forward(learned, args.shape)
    learner = ScaleLearner(learned, args.steps, probe_complexity(
        learned, args.shape, channels, forward), args.target, every=args.every)
    plain_step, _ = step_of(stock, batch)
    own_step, loss = step_of(learned, batch)

    def step():
        with learner.step(loss):
            own_step()

    seconds = time_alternately(dict(stock=plain_step, learned=step), args.steps, args.device,
                               warm_up=0)
    stock_s, learned_s = (np.array(seconds[name]) for name in ('stock', 'learned'))
    print(f'{device_name(args.device)}: {args.config}, {args.batch} x {args.shape}, {args.steps} '
          f'steps, an estimate in {args.every}: {learned_s.sum():.1f} s, stock '
          f'{stock_s.sum():.1f} s, ratio {learned_s.sum() / stock_s.sum():.3f}; by steps '
          f'{np.round(learned_s / np.median(stock_s), 2).tolist()}')


if __name__ == '__main__':
    main()
