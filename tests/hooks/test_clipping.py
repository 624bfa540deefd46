"""Gradient clipping with the alphas in groups of their own: as torch says."""

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmseg.registry import MODELS

from support.runs import Shapes, Watch, alphas_of, segmentor, train

LR, ALPHA_LR = 0.05, 1.0


def first_gradients(state):
    """Every gradient of the first step, from the weights that the run started with."""
    model = MODELS.build(segmentor('GN', gmacs_weight=100.))
    model.load_state_dict(state)
    data = model.data_preprocessor(pseudo_collate([Shapes()[i] for i in (0, 1)]), True)
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters()}


class Start(Watch):

    def before_train(self, runner):
        self.state = {k: v.clone() for k, v in runner.model.state_dict().items()}


@pytest.mark.parametrize('clip', [dict(max_norm=0.05), dict(type='value', clip_value=0.01)])
def test_clipping_acts_on_alpha(tmp_path, clip):
    watch = Start()
    runner = train(tmp_path, segmentor('GN', gmacs_weight=100.), 1, [watch], lr=LR,
                   alpha_lr=ALPHA_LR, clip_grad=dict(clip))
    gradients = first_gradients(watch.state)
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
    torch.testing.assert_close(alphas_of(runner.model), start - ALPHA_LR * alphas, rtol=0,
                               atol=1e-6)
    assert not torch.equal(alphas_of(runner.model), start)
