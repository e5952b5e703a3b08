"""Opening a model imports few packages, and leaves nothing of others in the process."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from speechlm.checkpoints.load_ctc import load_model
from speechlm.checkpoints.model_dir import Description, save_model
from speechlm.data.audio import resample
from speechlm.data.vocabulary import CharacterVocabulary, UnitVocabulary
from speechlm.decode.ctc_greedy import greedy
from speechlm.decode.transcribe import CTC
from speechlm.decode.write_emissions import log_probabilities
from speechlm.models import SpeechLM, SpeechLMConfig

OPEN = """
import builtins, json, sys
import torch

by_us, import_it = set(), builtins.__import__

def note(name, globals=None, locals=None, fromlist=(), level=0):
    if (globals or {}).get("__name__", "").partition(".")[0] == "speechlm" and level == 0:
        by_us.add(name.partition(".")[0])
    return import_it(name, globals, locals, fromlist, level)

before = set(sys.modules)
builtins.__import__ = note
import speechlm
model = speechlm.SpeechLM.from_pretrained(sys.argv[1])
features, frames = model.extract_features(torch.randn(2, 8000) * 0.1, [8000, 5000])
assert features.shape == (2, 24, 32) and frames.tolist() == [24, 15]
layers, frames = model.extract_features(torch.randn(2, 8000) * 0.1, [8000, 5000], layers="all")
assert len(layers) == 2
new = sorted(set(sys.modules) - before)
print(json.dumps({"by_us": sorted(by_us), "new": new}))
"""
OTHERS = ("espnet", "espnet2", "g2p_en", "tacotron_cleaner", "torchaudio", "transformers", "scipy")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model with CTC head, as an import of a fine-tuning leaves it, which writes many letters."""
    torch.manual_seed(0)
    config = SpeechLMConfig.tiny(
        conv_layers=[[16, 10, 5]] + [[16, 3, 2]] * 4 + [[16, 2, 2]] * 2,
        embed_dim=32,
        ffn_dim=64,
        heads=2,
        speech_layers=1,
        shared_layers=1,
        pos_conv_kernel=16,
        pos_conv_groups=4,
        unit_dim=16,
    )
    path = tmp_path_factory.mktemp("light") / "model"
    units = UnitVocabulary(map(str, range(9)))
    weights = SpeechLM(config, units.n_ids, 33).state_dict()
    weights["unit_encoder_ctc_head.5.weight"] *= 20
    description = Description(config, "ctc", units, CharacterVocabulary.symbols)
    save_model(path, description, weights, imported_from="a test")
    return path


@pytest.mark.parametrize(
    ("kind", "advice"), [("pretrained", "fine-tune it"), ("translation", ".*it translates")]
)
def test_a_model_of_another_kind_is_not_decoded_with(folder, tmp_path, kind, advice):
    """Their CTC heads may have weights; what they write has nothing to do with the audio."""
    shutil.copytree(folder, tmp_path / "model")
    path = tmp_path / "model" / "config.yaml"
    path.write_text(path.read_text().replace("kind: ctc", f"kind: {kind}"))
    with pytest.raises(ValueError, match=f"holds a model of kind {kind}, not ctc; {advice}"):
        load_model(tmp_path / "model")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Two channels at 22,050 Hz: noise of changing loudness."""
    rng = np.random.default_rng(0)
    loudness = np.linspace(0.01, 0.3, 22050)[:, None]
    path = tmp_path_factory.mktemp("audio") / "two channels.wav"
    soundfile.write(path, rng.standard_normal((22050, 2)) * loudness, 22050)
    return path


def run(code, *arguments, root):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_opening_a_model_imports_four_packages_and_no_stand_in(folder, root):
    found = run(OPEN, folder, root=root)
    third_party = set(found["by_us"]) - set(sys.stdlib_module_names) - {"speechlm"}
    assert third_party == {"torch", "numpy", "yaml", "safetensors"}
    assert not {name.partition(".")[0] for name in found["new"]} & set(OTHERS)
    assert not [name for name in found["new"] if name.startswith("speechlm.tasks")]


def text_of(folder, recording):
    return CTC.from_pretrained(folder).transcribe([recording])[0].text


def test_a_file_is_decoded_as_its_waveform(folder, recording):
    model = CTC.from_pretrained(folder)
    stereo, rate = soundfile.read(recording, dtype="float32")
    waveform = resample(stereo.mean(1), rate, 16000)
    expected = greedy(log_probabilities(model, [waveform])[0])
    assert expected and text_of(folder, recording) == expected
    found = model.transcribe([waveform, torch.from_numpy(waveform), waveform[:5000]])
    assert [f.text for f in found[:2]] == [expected] * 2 and found[2].text != expected
    assert model.transcribe([]) == []


@pytest.mark.parametrize("waveform", [torch.zeros(2, 800), np.zeros(800, np.int16)])
def test_other_things_than_waveforms_are_explained(folder, waveform):
    with pytest.raises(ValueError, match=r"waveform 1: floating-point samples in \[-1, 1\]"):
        CTC.from_pretrained(folder).transcribe([torch.ones(800), waveform])


def test_the_program_prints_a_line_for_each_file(folder, recording, root):
    command = [sys.executable, "-m", "speechlm.bin.transcribe", "--model", folder]
    done = subprocess.run(
        [*command, recording, "absent.wav", recording],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "absent.wav: unreadable audio, no such file" in done.stderr
    text = text_of(folder, recording)
    assert done.stdout == f"{text}\n\n{text}\n"
