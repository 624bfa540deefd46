"""A compiled backbone in mmengine's Runner trains as the plain one does."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from support.runs import Watch, segmentor, train
from support.toys import TWO_STREAMS


def test_training_is_the_same_but_compiled(tmp_path, fresh_compiler):
    counter = CompileCounterWithBackend('aot_eager')
    found = []
    for name, hooks in (('plain', []),
                        ('compiled', [dict(type='CompileHook', backend=counter)])):
        watch = Watch()
        runner = train(tmp_path / name, segmentor(channels=TWO_STREAMS, modules=(1, 0, 0, 0)), 4,
                       [*hooks, watch], lr=0.01, alpha_lr=1.0)
        found.append((watch.alphas, runner.model.state_dict()))
    assert counter.frame_count == 1  # one graph for four steps with other alphas
    (plain_alphas, plain), (alphas, compiled) = found
    assert list(plain) == list(compiled)
    assert (plain_alphas[-1] - 2).abs().max() > 1e-3
    torch.testing.assert_close(alphas[-1], plain_alphas[-1], rtol=0, atol=1e-3)
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-2, atol=1e-3, msg=name)


@pytest.mark.parametrize('part', ['stage9', 'num_classes', ''])
def test_a_part_that_is_no_module_is_named(tmp_path, part):
    with pytest.raises(ValueError, match=f'part.*{part!r}'):
        train(tmp_path, segmentor(), 1, [dict(type='CompileHook', part=part)])
