"""One of two processes that search together; see search/test_search.py."""

import json

import torch
import torch.distributed as dist
from torch import nn

from mmseg_dynopool.conversion import convert_dynopool
from mmseg_dynopool.costs import probe_complexity
from mmseg_dynopool.search import search_sizes


def main():
    dist.init_process_group('gloo')
    torch.manual_seed(0)
    model = convert_dynopool(nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1)), levels='image', multiple=8)
    wanted = (4.0, 0.25)[dist.get_rank()]  # one alone would choose a high image, one a wide one

    def loss(model, batch):
        height, width = model(batch).shape[-2:]
        return torch.tensor(height / width / wanted).log().square()

    found = search_sizes(model, loss, [torch.zeros(1, 1, 64, 64)] * 2,
                         probe_complexity(model, (64, 64), in_channels=1), 0.5)
    gathered = [None, None]
    dist.all_gather_object(gathered, [size.size for size in found.tried])
    if not dist.get_rank():
        print(json.dumps(gathered))
    dist.destroy_process_group()


if __name__ == '__main__':
    main()
