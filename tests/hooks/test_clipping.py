"""Gradient clipping with the alphas in groups of their own: the cost is outside of it."""

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmseg.registry import MODELS

from mmseg_dynopool.costs import probe_complexity
from mmseg_dynopool.layers import learned_pools
from mmseg_dynopool.layers.find import input_channels
from mmseg_dynopool.models.whole_network import forward_without_postprocessing
from support.runs import Shapes, Watch, alphas_of, small_segmentor, train

LR, ALPHA_LR = 0.05, 1.0


def first_gradients(state):
    """Every gradient of the task in the first step, and that of the cost by the alphas."""
    model = MODELS.build(small_segmentor('GN'))
    model.load_state_dict(state)
    data = model.data_preprocessor(pseudo_collate([Shapes()[i] for i in (0, 1)]), True)
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    cost = probe_complexity(model, (64, 96), input_channels(model), forward_without_postprocessing)
    pools = learned_pools(model)
    term = 100. * cost({name: pool.bounded_alpha() for name, pool in pools.items()})
    added = torch.stack(torch.autograd.grad(term, [pool.alpha for pool in pools.values()]))
    return {name: p.grad for name, p in model.named_parameters()}, added


class Start(Watch):

    def before_train(self, runner):
        self.state = {k: v.clone() for k, v in runner.model.state_dict().items()}


@pytest.mark.parametrize('clip', [dict(max_norm=0.05), dict(type='value', clip_value=1e-3)])
def test_clipping_acts_on_alpha(tmp_path, clip):
    watch = Start()
    runner = train(tmp_path, small_segmentor('GN', gmacs_weight=100.), 1, [watch], lr=LR,
                   alpha_lr=ALPHA_LR, clip_grad=dict(clip))
    gradients, added = first_gradients(watch.state)
    alphas = torch.stack([g for name, g in gradients.items() if name.endswith('.alpha')])
    if 'max_norm' in clip:
        norm = torch.cat([g.flatten() for g in gradients.values()]).norm()
        assert norm > 2 * clip['max_norm']
        alphas = alphas * clip['max_norm'] / (norm + 1e-6)
        logged = runner.message_hub.get_scalar('train/grad_norm').current()
        assert logged == pytest.approx(norm.item(), rel=1e-5)
    else:
        assert alphas.abs().min() < clip['clip_value'] < alphas.abs().max()
        alphas = alphas.clamp(-clip['clip_value'], clip['clip_value'])
    start = torch.stack([v for k, v in watch.state.items() if k.endswith('.alpha')])
    torch.testing.assert_close(alphas_of(runner.model), start - ALPHA_LR * (alphas + added),
                               rtol=0, atol=1e-6)
    assert not torch.equal(alphas_of(runner.model), start)
