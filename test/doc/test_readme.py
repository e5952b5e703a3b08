"""README's Python code runs, block after block, in a folder that has what it opens."""

import os
import re
import subprocess
import sys

import numpy as np
import soundfile

from speechlm.checkpoints.model_dir import Description, save_model
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.models import SpeechLMConfig

SHOW = """
print(tuple(features.shape), frames.tolist())
print([tuple(layer.shape) for layer in layers])
"""
RECORDINGS = "data/corpus/test/1091/10910"
"""Where README finds recordings in egs/mini."""
FRAMES = [25, 49]
"""Of half a second and of a second in one batch; the 25th is half padding."""


def save_ctc_model(folder, values):
    """An imported CTC model of random weights."""
    config = SpeechLMConfig.base(**values)
    description = Description(config, "ctc", characters=CharacterVocabulary.symbols)
    weights = description.build().state_dict()
    save_model(folder, description, weights, imported_from="a test")


def test_the_python_code_runs(root, tmp_path, model_folder, model_values):
    blocks = re.findall(r"^```python\n(.*?)^```", (root / "README.md").read_text(), re.S | re.M)
    assert len(blocks) == 2
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "pretrain_speech_text").symlink_to(model_folder())
    save_ctc_model(tmp_path / "exp" / "asr_speech_text", model_values())
    random = np.random.default_rng(0)
    (tmp_path / RECORDINGS).mkdir(parents=True)
    for i, samples in enumerate((8000, 16000)):
        path = tmp_path / RECORDINGS / f"1091-10910-000{i}.flac"
        soundfile.write(path, 0.1 * random.standard_normal(samples), 16000)
    done = subprocess.run(
        [sys.executable, "-c", "".join(blocks) + SHOW],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    *_, seconds, shapes, layers = done.stdout.splitlines()
    assert seconds == "0.02"
    assert shapes == f"(2, 49, 32) {FRAMES}"
    assert layers == str([(2, 49, 32)] * 4)
