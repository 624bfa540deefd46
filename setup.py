"""Puts configs, tools and the model index into the wheel; all else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

# Tools that remake pages of docs/, for those who have a clone.
OF_A_CLONE = ['evidence.py', 'classification_evidence.py', 'table3.py', 'models.py', 'gallery.py',
              'draw_dynopool.py']


class BuildWithMim(build_py):
    """Copies them to ``mmseg_dynopool/.mim``, where mim looks; ``pip install -e`` needs none."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        mim = Path(self.build_lib, 'mmseg_dynopool', '.mim')
        shutil.rmtree(mim, ignore_errors=True)
        for folder in ('configs', 'tools'):
            shutil.copytree(folder, mim / folder, ignore=shutil.ignore_patterns('__pycache__'))
        for name in OF_A_CLONE:
            (mim / 'tools' / name).unlink()
        shutil.copy('model-index.yml', mim)


setup(cmdclass=dict(build_py=BuildWithMim))
