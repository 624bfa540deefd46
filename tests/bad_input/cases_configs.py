"""Configs that cannot work; and a config of which only mmseg's own tools need a line more."""

from support.forks import run_script


def config_missing(bench):
    return bench.train(config='lost.py')


def config_misspelt(bench):
    return bench.train(config='configs/hrnet_w48_dynopol_cityscapes.py')


def config_folder(bench):
    return bench.train(config=bench.folder)


def config_syntax_error(bench):
    return bench.train(config=bench.write('bad.py', 'model = dict(\ntrain_cfg = 1\n'))


def config_undefined_name(bench):
    return bench.infer('image.png', config=bench.write('bad.py', 'model = backbone\n'))


def config_text_file(bench):
    return bench.tool('get_flops', bench.write('notes.txt', 'model = 1\n'))


def config_base_missing(bench):
    return bench.train(config=bench.write('bad.py', "_base_ = './lost.py'\n"))


def config_empty(bench):
    return bench.train(config=bench.write('bad.py', ''))


def config_without_optimizer(bench):
    return bench.train(config=bench.write_config('optim_wrapper = None'), flags=['--amp'])


def config_without_test_data(bench):
    return bench.tool('test', bench.write_config('test_dataloader = None'),
                      bench.project.checkpoint)


def config_without_tta(bench):
    return bench.tool('test', bench.project.config, bench.project.checkpoint, '--tta')


def config_without_test_pipeline(bench):
    """The pipeline of the test loader serves; it would have to load labels, too."""
    return bench.infer(bench.project.images[0], ok=True)


def config_without_any_pipeline(bench):
    config = bench.write_config('test_dataloader = None', 'test_evaluator = None')
    return bench.infer(bench.project.images[0], config=config)


def config_without_visualizer(bench):
    config = bench.write_config('visualizer = None')
    seen = bench.tool('test', config, bench.project.checkpoint, '--show-dir', 'shown', ok=True)
    shown = list(bench.folder.glob('**/shown/**/*.png'))
    assert len(shown) == 2
    return seen


def config_without_custom_imports(bench):
    """In another process: this one has imported the plugin."""
    config = bench.write_config('custom_imports = None')
    script = bench.write('use.py', 'import sys\nfrom mmseg.apis import init_model\n'
                                   'init_model(sys.argv[1], device="cpu")\n')
    code, printed = run_script(script, config, cwd=bench.folder)
    assert code != 0
    return printed


def config_import_missing(bench):
    return bench.train(config=bench.write_config(
        "custom_imports = dict(imports=['no_such_package'], allow_failed_imports=False)"))


def config_stock_backbone(bench):
    return bench.train('model.type=DynOPoolEncoderDecoder', 'model.backbone.type=HRNet')


def config_hook_alone(bench):
    return bench.train(config=bench.write_config(
        "custom_imports = dict(imports=['mmseg_dynopool'], allow_failed_imports=False)",
        "custom_hooks = [dict(type='DynOPoolHook')]",
        base=bench.project.folder / 'my_hrnet_config.py'))


def config_budget_without_hook(bench):
    return bench.train(config=bench.write_config(
        'custom_hooks = []',
        "model = dict(type='DynOPoolEncoderDecoder', gmacs_budget=dict(target=0.97))"))


def config_budget_twice(bench):
    return bench.train(config=bench.write_config(
        "model = dict(type='DynOPoolEncoderDecoder', gmacs_budget=dict(target=0.97))"))


def config_amp_of_another_wrapper(bench):
    config = bench.write_config(
        "optim_wrapper = dict(type='MyWrapper')")
    return bench.train(config=config, flags=['--amp'])
