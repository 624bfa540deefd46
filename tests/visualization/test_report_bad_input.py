"""What the report says when a work dir is not one."""

import shutil

import pytest

from mmseg_dynopool.visualization.report import run_report


@pytest.fixture
def work_dir(trained, tmp_path):
    """A copy of a good work dir, to be spoiled."""
    shutil.copytree(trained[0] / 'learned', tmp_path / 'run')
    return tmp_path / 'run'


def message(*args, **options):
    with pytest.raises(ValueError) as error:
        run_report(*args, **options)
    return str(error.value)


def test_no_work_dir(tmp_path):
    text = message(tmp_path / 'none')
    assert 'there is no work dir' in text and 'none' in text
    assert 'tools/train.py' in text and not (tmp_path / 'none').exists()


def test_no_config(work_dir):
    (work_dir / 'my_dynopool_config.py').unlink()
    for path in work_dir.glob('*/vis_data/config.py'):
        path.unlink()
    assert 'holds no config' in message(work_dir)


def test_the_config_of_the_log_will_do(work_dir):
    (work_dir / 'my_dynopool_config.py').unlink()
    assert run_report(work_dir, images=1, repeats=1).is_file()


def test_a_config_of_another_project(work_dir):
    (work_dir / 'my_dynopool_config.py').write_text("model = dict(type='RetinaNet')")
    assert 'is no config of a segmentor of mmseg: model.backbone' in message(work_dir)


def test_no_validation_data(work_dir, tmp_path):
    text = message(work_dir, options={'val_dataloader.dataset.data_root': str(tmp_path / 'gone')})
    assert 'does not exist' in text and 'gone' in text
    path = work_dir / 'my_dynopool_config.py'
    path.write_text(path.read_text() + '\nval_dataloader = None\n')
    assert 'has no val_dataloader' in message(work_dir)


def test_no_checkpoint(work_dir):
    for path in [*work_dir.glob('*.pth'), work_dir / 'last_checkpoint']:
        path.unlink()
    assert 'holds no checkpoint' in message(work_dir)


def test_a_checkpoint_that_was_cut_off(work_dir):
    path = work_dir / 'iter_20.pth'
    path.write_bytes(path.read_bytes()[:1000])
    assert 'iter_20.pth cannot be read as a checkpoint' in message(work_dir)


def test_the_checkpoint_of_another_network(work_dir):
    other = work_dir / 'my_dynopool_config.py'
    other.write_text(other.read_text() + "\nmodel['decode_head']['channels'] = 8\n")
    assert 'of another architecture' in message(work_dir)


def test_no_log_and_a_log_of_another_project(work_dir):
    paths = [*work_dir.glob('*/vis_data/scalars.json')]
    for path in paths:
        path.write_text('{"bbox_mAP": 0.5, "step": 1}\n')
    assert 'hold no training loss (found: bbox_mAP' in message(work_dir)
    for path in paths:
        path.unlink()
    assert 'holds no log' in message(work_dir)


def test_the_baseline_is_looked_at_before_anything_runs(trained, tmp_path):
    assert "there is no work dir 'nowhere'" in message(trained[0] / 'learned', 'nowhere')


def test_options(work_dir, tmp_path):
    assert 'is a folder' in message(work_dir, out=tmp_path)
    assert 'images must be a whole number >= 1, got 0' in message(work_dir, images=0)
    assert 'repeats must be a whole number >= 1, got 2.5' in message(work_dir, repeats=2.5)
    (tmp_path / 'file').touch()
    assert 'is a file' in message(work_dir, out=tmp_path / 'file' / 'r.html')
    with pytest.raises(SystemExit, match="--device 'moon'"):
        run_report(work_dir, device='moon')
