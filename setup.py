"""Puts configs, tools and the model index into the wheel; all else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithMim(build_py):
    """Copies them to ``mmseg_dynopool/.mim``, where mim looks; ``pip install -e`` needs none."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        mim = Path(self.build_lib, 'mmseg_dynopool', '.mim')
        shutil.rmtree(mim, ignore_errors=True)
        for folder in ('configs', 'tools'):
            # What remakes pages of docs/ is for those who have a clone.
            shutil.copytree(folder, mim / folder, ignore=shutil.ignore_patterns(
                '__pycache__', 'study'))
        shutil.copy('model-index.yml', mim)


setup(cmdclass=dict(build_py=BuildWithMim))
