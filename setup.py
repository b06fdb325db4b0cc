"""Packaging of mmfrcnn: the importable package lives in projects/mmfrcnn."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def requirements(name: str) -> list[str]:
    """Return the requirements listed in requirements/<name>.txt."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


def version() -> str:
    """Return ``__version__`` without importing the package, which needs torch."""
    text = (ROOT / 'projects/mmfrcnn/__init__.py').read_text()
    found = re.search(r"^__version__ = '(.+)'$", text, re.MULTILINE)
    assert found, 'projects/mmfrcnn/__init__.py has no __version__'
    return found.group(1)


setup(
    name='mmfrcnn',
    version=version(),
    description="Faster R-CNN as an MMDetection plugin on today's PyTorch",
    long_description=(ROOT / 'README.md').read_text('utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages('projects', include=['mmfrcnn', 'mmfrcnn.*']),
    package_dir={'': 'projects'},
    py_modules=['mmfrcnn_console'],
    entry_points={'console_scripts': ['mmfrcnn = mmfrcnn_console:main']},
    # Links to configs/ and tools/ of the repository, in a wheel the files themselves,
    # where OpenMMLab's mim and mmengine look for them.
    package_data={
        'mmfrcnn': [
            '.mim/model-index.yml',
            'report/page.html',
            *(f'.mim/configs/**/*.{kind}' for kind in ('md', 'py', 'yml')),
            *(f'.mim/tools/*.{kind}' for kind in ('py', 'sh')),
        ]
    },
    # They need projects/mmfrcnn_benchmark, which is of the checkout alone.
    exclude_package_data={
        'mmfrcnn': ['.mim/tools/benchmark.py', '.mim/tools/gpu_check.py']
    },
    python_requires='>=3.10',
    install_requires=requirements('runtime'),
    extras_require={
        'dev': requirements('dev'),
        'docs': requirements('docs'),
        'fast-eval': requirements('fast-eval'),
        'lite': requirements('lite'),
        'mlflow': requirements('mlflow'),
        'results': requirements('results'),
        'safetensors': requirements('safetensors'),
        'tensorboard': requirements('tensorboard'),
        'timm': requirements('timm'),
        'wandb': requirements('wandb'),
        'weights': requirements('weights'),
    },
    classifiers=[
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
)
