"""What the README and the pages of docs/ say exists: files, links, options, and the examples' code.

``docs/bad_input.md`` has a test of its own; here its links are followed.
"""

import ast
import contextlib
import inspect
import io
import re
import runpy
import subprocess
import sys
from functools import cache
from pkgutil import resolve_name
from textwrap import dedent

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import TASK_UTILS
from mmseg.apis import inference_model
from mmseg.registry import DATASETS, HOOKS, LOG_PROCESSORS, MODELS, VISBACKENDS
from torch import nn
from torch.testing import assert_close

from mmseg_dynopool import DynOPoolHook, config_path
from mmseg_dynopool.checkpoints import load_network
from mmseg_dynopool.conversion import convert_dynopool
from mmseg_dynopool.costs import GMACsBudget, count_gmacs
from mmseg_dynopool.export import export_program
from mmseg_dynopool.layers import DynOPool
from mmseg_dynopool.learning import LearnedScales
from mmseg_dynopool.models.options import build_dynopools
from mmseg_dynopool.ops import dynopool2d
from support.toy_runs import run, scalars
from support.toys import ROOT

README = (ROOT / 'README.md').read_text()
PAGES = {str(path.relative_to(ROOT)): path.read_text()
         for path in [*sorted(ROOT.glob('[A-Z]*.md')), *sorted((ROOT / 'docs').rglob('*.md'))]
         if path.name != 'CHANGELOG.md'}
PROMISES = '\n'.join(text for page, text in PAGES.items() if page != 'docs/bad_input.md')
BASH = re.findall(r'```bash\n(.*?)```', PROMISES, re.S)
PYTHON = [dedent(code) for code in re.findall(r'```python\n(.*?)```', PROMISES, re.S)]
# Options of pip, tensorboard and torchrun.
FOREIGN_OPTIONS = {'--extra-index-url', '--no-build-isolation', '--no-cache-dir', '--logdir',
                   '--nproc_per_node'}
LAUNCHED = {'tools/dist_train.sh': 'tools/train.py', 'tools/slurm_train.sh': 'tools/train.py',
            'tools/dist_test.sh': 'tools/test.py'}


def command_lines():
    """((tool, command), line) of each line of shell in the pages, the command only where it has.

    A launch script stands for what it launches.
    """
    for line in '\n'.join(BASH).splitlines():
        line = re.sub(r'-m mmseg_dynopool (\w+)', r'tools/\1.py', line)
        for tool in re.findall(r'tools/(?:[\w/]+\.(?:py|sh)|study\b)', line)[:1]:
            command = re.findall(r'(?:visualize\.py|tools/study) ([\w-]+)', line)
            yield (LAUNCHED.get(tool, tool), *command), line.partition(' #')[0]


COMMANDS = list(command_lines())


@cache
def help_text(*command):
    """What a tool prints for --help, without a process of its own."""
    printed, argv = io.StringIO(), sys.argv
    sys.argv = [str(ROOT / command[0]), *command[1:], '--help']
    try:
        with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as left:
            runpy.run_path(sys.argv[0], run_name='__main__')
    finally:
        sys.argv = argv
    assert left.value.code in (0, None)
    return printed.getvalue()


def options_of(command):
    """The options that a tool takes."""
    return set(re.findall(r'--[\w-]+', help_text(*command)))


def prose(text):
    """A page without its code."""
    return re.sub(r'`[^`\n]*`', '', re.sub(r'```.*?```', '', text, flags=re.S))


def anchors(text):
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r'```.*?```', '', text, flags=re.S)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')
            for heading in re.findall(r'^#+ (.+)$', text, re.M)}


def table_rows(text):
    """The cells of a page's tables, without the ticks of code; an empty first cell repeats."""
    first = ''
    for line in re.findall(r'^\|(.+)\|$', text, re.M):
        cells = [cell.strip().strip('`') for cell in line.split('|')]
        first = cells[0] or first
        yield [first, *cells[1:]]


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 130


def test_files_of_the_pages_exist():
    named = set(re.findall(r'(?:configs|tools|docs)/[\w/]+\.(?:py|sh|png|md)', PROMISES))
    assert len(named) > 25
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_every_config_is_in_the_readme():
    rows = re.findall(r'^\| (`.+?`) \|', README, re.M)
    listed = [name for row in rows for name in re.findall(r'`(\w+\.py)`', row)]
    assert sorted(listed) == sorted(path.name for path in (ROOT / 'configs').glob('*.py'))


@pytest.mark.parametrize('page', PAGES)
def test_links_lead_somewhere(page):
    """To files of the repository and, in pages, to headings that are there."""
    links = re.findall(r'\]\(([^)\s]+)\)', prose(PAGES[page]))
    broken = []
    for link in links:
        if link.startswith('https://'):
            continue
        name, _, anchor = link.partition('#')
        target = ((ROOT / page).parent / name).resolve() if name else ROOT / page
        if not target.is_file() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    assert broken == []


def test_every_page_is_linked_from_the_index():
    pages = {page.removeprefix('docs/') for page in PAGES if page.startswith('docs/')}
    pages.remove('README.md')
    assert set(re.findall(r'\]\(([\w/]+\.md)\)', PAGES['docs/README.md'])) >= pages


def test_links_are_found_by_this_test():
    assert anchors('# A `b.c`, d\n```\n# no\n```\n## e f') == {'a-bc-d', 'e-f'}
    assert prose('a `[b](c)` d\n```\n[e](f)\n```') == 'a  d\n'


@pytest.mark.parametrize('command', sorted({command for command, _ in COMMANDS}), ids=' '.join)
def test_options_of_the_commands_exist(command):
    lines = ' '.join(line for name, line in COMMANDS if name == command)
    assert set(re.findall(r'(?<=\s)--[\w-]+', lines)) - options_of(command) == set()


def test_options_in_the_text_exist():
    options = set(re.findall(r'(?<![\w-])--[a-z][\w-]+', PROMISES)) - FOREIGN_OPTIONS
    assert len(options) > 20
    assert options - set().union(*(options_of(command) for command, _ in COMMANDS)) == set()


def test_every_command_of_visualize_is_shown():
    shown = {command[1] for command, _ in COMMANDS if command[0] == 'tools/visualize.py'}
    assert shown == set(re.findall(r'^ {4}([a-z][\w-]*)', help_text('tools/visualize.py'), re.M))


@pytest.mark.parametrize('name, arguments, expected', [
    ('dist_train.sh', ['c.py', '8', '--amp'],
     '--nnodes=2 --node_rank=1 --master_addr=10.0.0.1 --master_port=29500 --nproc_per_node=8 '
     'TOOLS/train.py c.py --launcher pytorch --amp'),
    ('dist_test.sh', ['c.py', 'x.pth', '4', '--tta'],
     '--nnodes=2 --node_rank=1 --master_addr=10.0.0.1 --master_port=29500 --nproc_per_node=4 '
     'TOOLS/test.py c.py x.pth --launcher pytorch --tta'),
    ('slurm_train.sh', ['part', 'job', 'c.py', '--resume'],
     '--partition=part --job-name=job --ntasks=16 --ntasks-per-node=8 --gres=gpu:8 '
     '--cpus-per-task=8 --kill-on-bad-exit=1 python -u TOOLS/train.py c.py --launcher slurm '
     '--resume'),
])
def test_launch_scripts_call_the_launchers(tmp_path, name, arguments, expected):
    """With stand-ins for torchrun and srun, which no single machine of a test has in full."""
    for launcher in ('torchrun', 'srun'):
        script = tmp_path / launcher
        script.write_text('#!/bin/sh\necho "$@"\n')
        script.chmod(0o755)
    environment = dict(PATH=f'{tmp_path}:/usr/bin:/bin', NNODES='2', NODE_RANK='1',
                       MASTER_ADDR='10.0.0.1', GPUS='16', GPUS_PER_NODE='8')
    printed = subprocess.run([ROOT / 'tools' / name, *arguments], env=environment, text=True,
                             check=True, capture_output=True).stdout
    assert printed.split() == expected.replace('TOOLS', str(ROOT / 'tools')).split()


def test_the_table_of_options_is_whole_and_right():
    rows = list(table_rows(PAGES['docs/options.md']))
    shown = {row[1]: row[2] for row in rows if row[0] == 'backbone.dynopool'}
    with pytest.raises(ValueError, match='unknown dynopool options') as error:
        build_dynopools(dict(nothing=0), 4)
    taken = ast.literal_eval(re.search(r'there are (\[.+?\])', str(error.value))[1])
    assert set(shown) == {*taken, 'type'}
    defaults = {name: parameter.default
                for name, parameter in inspect.signature(DynOPool).parameters.items()}
    assert {name: ast.literal_eval(shown[name]) for name in defaults} == defaults
    assert (shown['stem'], shown['learn'], shown['type']) == ('False', 'True', "'DynOPool'")
    # At these defaults the network has the instances of the streams alone, and they learn.
    pools = build_dynopools(None, 4)
    assert list(pools) == ['stream1', 'stream2', 'stream3']
    assert all(type(pool) is DynOPool for pool in pools.values())


def test_the_table_of_budget_options_is_whole_and_right():
    shown = {row[0]: row[1] for row in table_rows(PAGES['docs/budget.md'])}
    defaults = {name: parameter.default
                for name, parameter in inspect.signature(GMACsBudget).parameters.items()
                if name not in ('target', 'target_gmacs')}
    assert {name: float(shown[name]) for name in defaults} == defaults


def test_the_table_of_the_learners_options_is_whole_and_right():
    shown = {row[0]: row[1] for row in table_rows(PAGES['docs/learner.md'])}
    defaults = {name: parameter.default
                for name, parameter in inspect.signature(DynOPoolHook).parameters.items()}
    options = [name for name, default in defaults.items()
               if default is not None and name != 'best_when_settled']
    assert {name: ast.literal_eval(shown[name]) for name in options} == {
        name: defaults[name] for name in options}
    rows = [row for row in table_rows(PAGES['docs/options.md']) if row[0] == 'DynOPoolHook']
    named = {row[1] for row in rows}
    assert set(re.findall(r'\w+', ' '.join(named))) == set(defaults)
    assert ['best_when_settled', str(defaults['best_when_settled'])] in [row[1:3] for row in rows]


def test_names_in_the_pages_exist():
    types = set(re.findall(r"\btype='(\w+)'", PROMISES)) - {'DynOPool', 'ShapeAdaptor'}
    types |= set(re.findall(r'`(DynOPool\w+|\w+Hook)`', PROMISES))
    types -= {'DynOPoolConv2d', 'BudgetHook', 'FourPasses', 'PixelsBudget', 'AreaPool'}
    types -= {'DynOPoolImageClassifier'}  # of mmpretrain's registry, which has tests of its own
    assert len(types) > 8
    registries = (DATASETS, HOOKS, LOG_PROCESSORS, MODELS, VISBACKENDS)
    assert {name for name in types if not any(r.get(name) for r in registries)} == set()
    for name in set(re.findall(r'\bmmseg_dynopool(?:\.[a-z]\w*)+', PROMISES)):
        if name != 'mmseg_dynopool.classification':  # needs mmpretrain, has tests of its own
            resolve_name(name)


def test_python_examples_are_python():
    for code in PYTHON:
        compile(code, 'an example', 'exec')


def test_python_examples_on_torch_alone_run():
    examples = [code for code in PYTHON if 'from mmseg_dynopool.' in code and not re.search(
        'TASK_UTILS|ScaleLearner|fully_shard|AreaPool', code)]  # of which others run
    assert len(examples) == 5
    for code in examples:
        exec(code, dict(model=strided(), network=strided(), batches=2 * [
            (torch.rand(1, 3, 64, 96), None)], criterion=lambda y, _: y.square().mean()))


def strided(channels=3):
    return nn.Sequential(nn.Conv2d(channels, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))


@pytest.mark.parametrize('page', ['README.md', 'docs/any_network.md'])
def test_the_loop_on_torch_alone_ends_at_its_budget(page):
    code, = [code for code in re.findall(r'```python\n(.*?)```', PAGES[page], re.S)
             if 'ScaleLearner' in code]
    model = strided() if 'convert_dynopool' in code else convert_dynopool(strided())
    start = count_gmacs(convert_dynopool(strided(), image='image=True' in code), (512, 1024))
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(16, 1, 3, 32, 48, generator=generator)
    weights = [p.clone() for p in model.parameters() if p.dim() == 4]
    exec(code, dict(
        model=model, loader=[(image, None) for image in images],
        criterion=lambda logits, labels: logits.square().mean(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=0.01)))
    assert count_gmacs(model, (512, 1024)) / start == pytest.approx(0.5, abs=0.01)
    assert all((p != before).any() for p, before in zip(
        (p for p in model.parameters() if p.dim() == 4), weights))


def test_a_cost_and_an_estimator_of_ones_own_train_a_network(tmp_path, monkeypatch):
    """Those of the page of budgets: the cost is planned and met, the slope is as defined."""
    files = [code for code in PYTHON if 'TASK_UTILS.register_module' in code]
    assert len(files) == 2

    class Network(BaseModel):

        def __init__(self):
            super().__init__()
            self.net = convert_dynopool(strided(channels=1))

        def forward(self, inputs, mode='tensor'):
            features = self.net(inputs)
            return dict(loss=features.square().mean()) if mode == 'loss' else features

    # Where another test has registered one of the name.
    monkeypatch.delitem(TASK_UTILS.module_dict, 'PixelsBudget', raising=False)
    try:
        for code in files:
            exec(code, dict(__name__='a_file_of_my_own'))
        model = Network()
        budget = re.search(r"budget=(dict\(type='PixelsBudget'.*?\))", PAGES['docs/budget.md'])[1]
        hook = DynOPoolHook(budget=eval(budget), gradient=dict(type='FourPasses'),
                            gmacs_shape=(64, 96))
        run(tmp_path, model, iterations=8, hooks=[hook], custom_keys={})
    finally:
        for name in ('PixelsBudget', 'FourPasses'):
            TASK_UTILS.module_dict.pop(name)
    sizes = [(32, 48), (16, 24)]
    initial = sum(height * width for height, width in sizes)
    assert hook.cost.initial == initial
    lines = scalars(tmp_path)
    assert lines[0]['pixels'] == initial
    for line in lines[:7]:
        assert line['pixels_ratio'] == pytest.approx(line['pixels_plan'], rel=1e-4)
        assert line['pixels'] == pytest.approx(initial * line['pixels_ratio'], rel=1e-4)
    ends = model.net(torch.zeros(1, 1, 64, 96)).shape[2:]
    first = model.net.dynopools['stride2'].output_size((64, 96))
    assert ends.numel() + first[0] * first[1] == pytest.approx(0.5 * initial, rel=0.02)

    pool, estimator = DynOPool(0.5), hook.learner.estimator
    scales = LearnedScales(pool)
    slope = estimator(pool, lambda: pool.bounded_alpha()[0], scales, scales.read(), np.ones(2),
                      scales.limits(), 0)
    # Of alpha = exp(v), between v - h and v + h.
    expected = np.mean([2 * np.sinh(h) / h for h in (0.05, 0.2)])
    assert slope == pytest.approx(expected, rel=1e-5)


def test_the_readme_block_learns():
    """Its alpha is one of its parameters, gets a gradient, moves, and both branches follow."""
    scope = {}
    exec(next(code for code in PYTHON if 'class Block' in code), scope)
    block = scope['Block']()
    names = [name for name, _ in block.named_parameters() if 'alpha' in name]
    assert names == ['conv.pool.alpha'] == [name for name in block.state_dict() if 'alpha' in name]
    alpha = block.conv.pool.alpha
    image = torch.rand(2, 64, 16, 12)

    leaf = torch.tensor([2.0, 2.0], requires_grad=True)
    pooled = dynopool2d(image, leaf)
    expected = (F.conv2d(pooled, block.conv.weight, block.conv.bias, padding=1)
                + F.conv2d(pooled, block.shortcut.weight, block.shortcut.bias))
    slope, = torch.autograd.grad(expected.square().mean(), leaf)

    optimizer = torch.optim.SGD(block.parameters(), lr=0.1)
    output = block(image)
    assert output.shape == (2, 128, 8, 6)
    assert_close(output, expected)
    output.square().mean().backward()
    assert_close(alpha.grad, slope)
    assert slope.abs().min() > 0
    optimizer.step()
    assert_close(alpha.detach(), 2 - 0.1 * slope)
    assert (alpha != 2).all()

    with torch.no_grad():
        alpha.copy_(torch.tensor([4.0, 3.0]))
    assert block(image).shape == (2, 128, 4, 4)
    with torch.no_grad():
        alpha.fill_(100)
    block.conv.pool.project_()
    assert block.conv.pool.scale.tolist() == [0.125, 0.125]


@pytest.mark.slow
def test_the_script_without_mmseg_labels_as_mmseg_does(tmp_path, monkeypatch):
    """That of the page of adopting, on a network with random weights."""
    code = next(code for code in PYTHON if 'InferenceSession' in code)
    assert 'import mm' not in code
    cfg = Config.fromfile(config_path('deeplabv3plus_r50_dynopool_cityscapes.py'))
    cfg.model.pretrained = cfg.model.auxiliary_head = None
    cfg.model.backbone = dict(type='ResNet', depth=18, base_channels=8, num_stages=1, strides=(1, ),
                              dilations=(1, ), out_indices=(0, ))
    cfg.model.decode_head = dict(type='FCNHead', in_channels=8, in_index=0, channels=8,
                                 num_classes=19)
    cfg.test_pipeline = [step for step in cfg.test_pipeline if step.type != 'Resize']
    model = load_network(cfg, None)
    nn.init.normal_(model.decode_head.conv_seg.weight, generator=torch.Generator().manual_seed(0))
    monkeypatch.chdir(tmp_path)
    export_program(model, 'net.onnx', (64, 64), dynamic=True)
    image = np.random.default_rng(0).integers(0, 256, (96, 80, 3), np.uint8)
    cv2.imwrite('image.png', image)
    exec(code, {})
    expected = inference_model(model, image).pred_sem_seg.data[0].numpy()
    labels = cv2.imread('labels.png', cv2.IMREAD_GRAYSCALE)
    assert (labels == expected).mean() > 0.999  # logits that are equal up to rounding
    assert len(np.unique(labels)) > 1


def test_make_targets():
    targets = set(re.findall(r'(?:^|`)make ([a-z][\w-]*)', PROMISES, re.M))
    makefile = (ROOT / 'Makefile').read_text()
    assert {'demo', 'test', 'check', 'benchmark', 'gallery', 'test-upstream'} <= targets
    assert {target for target in targets if f'\n{target}:' not in makefile} == set()
