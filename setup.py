"""Package metadata of mmseg_dynopool."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
# ONNX and weights without pickle.
EXPORT = ['onnx', 'onnxscript', 'onnxruntime', 'safetensors']
version = {}
exec((ROOT / 'mmseg_dynopool' / 'version.py').read_text(), version)

setup(
    name='mmseg_dynopool',
    version=version['__version__'],
    description='Learned resolution for semantic segmentation: DynOPool for MMSegmentation',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['mmseg_dynopool', 'mmseg_dynopool.*']),
    package_data={'mmseg_dynopool.report': ['*.css', '*.jinja']},
    python_requires='>=3.10',
    install_requires=[
        'torch>=2.6', 'numpy', 'scipy', 'opencv-python', 'matplotlib', 'jinja2', 'pillow', 'rich'
    ],
    extras_require={
        # The maintained forks of the OpenMMLab stack; the import names are the same.
        'mmlab': ['onedl-mmcv', 'onedl-mmengine', 'onedl-mmsegmentation', 'tensorboard'],
        # The last releases of the upstream stack, with constraints-upstream.txt. mmcv compiles for
        # minutes and has to be installed first, see the Makefile.
        'mmlab-upstream': [
            'mmcv==2.1.0', 'mmengine==0.10.7', 'mmsegmentation==1.2.2', 'setuptools<81', 'ftfy',
            'regex', 'tensorboard'
        ],
        # Classifiers. The torchvision has to be the one that is built for your torch.
        'classification': ['onedl-mmpretrain', 'torchvision'],
        'demo': ['nilearn'],
        'export': EXPORT,
        'test': ['pytest', 'pytest-xdist', 'hypothesis', 'nilearn', 'ruff', 'codespell',
                 *EXPORT],
    })
