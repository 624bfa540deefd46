"""Work dirs that a report cannot use, beside those of docs/bad_input.md."""

import shutil

import pytest

from mmseg_dynopool.report.page import run_report


@pytest.fixture
def work_dir(trained, tmp_path):
    """A copy of a good work dir, to be spoiled."""
    shutil.copytree(trained[0] / 'learned', tmp_path / 'run')
    return tmp_path / 'run'


def message(*args, **options):
    with pytest.raises(ValueError) as error:
        run_report(*args, **options)
    return str(error.value)


def test_the_config_of_the_log_will_do(work_dir):
    (work_dir / 'my_dynopool_config.py').unlink()
    assert run_report(work_dir, images=1, repeats=1).is_file()


def test_the_checkpoint_of_another_network(work_dir):
    other = work_dir / 'my_dynopool_config.py'
    other.write_text(other.read_text() + "\nmodel['decode_head']['channels'] = 8\n")
    assert 'of another architecture' in message(work_dir)


def test_options(work_dir, tmp_path):
    assert 'is a folder' in message(work_dir, out=tmp_path)
    assert 'images must be a whole number >= 1, got 0' in message(work_dir, images=0)
    assert 'repeats must be a whole number >= 1, got 2.5' in message(work_dir, repeats=2.5)
    (tmp_path / 'file').touch()
    assert 'is a file' in message(work_dir, out=tmp_path / 'file' / 'r.html')
    with pytest.raises(SystemExit, match="--device 'moon'"):
        run_report(work_dir, device='moon')
