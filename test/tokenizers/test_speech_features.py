"""Features for hidden units against torchaudio, transformers and our own extraction."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import speechlm
from speechlm.checkpoints.torchaudio_cpu import import_torchaudio
from speechlm.conventions import PAPER_FRAMING, Framing
from speechlm.data.archives import n_labels
from speechlm.tokenizers import speech_features as module
from speechlm.tokenizers.speech_features import (
    FeatureConfig,
    chunks,
    mfcc,
    normalized,
    open_features,
    reopen_features,
)


@pytest.fixture(scope="module")
def wave():
    random = np.random.default_rng(3)
    return (0.1 * random.normal(size=21000)).astype(np.float32)


def test_mfcc_are_those_of_huberts_first_iteration(wave):
    import_torchaudio()
    from torchaudio.compliance.kaldi import mfcc as reference
    from torchaudio.functional import compute_deltas

    waves = torch.from_numpy(wave)[None] * 32768
    static = reference(waves, sample_frequency=16000, use_energy=False).T
    first = compute_deltas(static)
    expected = torch.cat([static, first, compute_deltas(first)]).T
    found = mfcc(wave)
    assert found.shape == (n_labels(len(wave), 0.02), 39) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected[::2].numpy(), rtol=1e-3, atol=5e-3)


@pytest.mark.parametrize("n", [400, 719, 720, 879, 880, 1039, 1040, 16000, 16079, 16080])
def test_mfcc_have_a_frame_each_20_ms(wave, n):
    source = open_features("mfcc")
    assert len(source(wave[:n])) == (n - 400) // 320 + 1
    with pytest.raises(ValueError, match="at least 400 samples expected, got 399"):
        source(wave[:399])


@pytest.mark.parametrize("n", [400, 3600, 100_000, 123_457])
def test_chunks_have_the_frames_of_the_whole(n):
    for framing, most in ((PAPER_FRAMING, 50), (Framing(400, 640), 25), (Framing(880, 640), 25)):
        n = max(n, framing.window)
        frames, parts = framing.frames, list(chunks(n, framing, 1.0))
        assert sum(frames(b - a) for a, b in parts) == frames(n)
        assert all(1 <= frames(b - a) <= most for a, b in parts)
        assert parts[0][0] == 0 and parts[-1][1] == n
        for (a, b), (c, _) in zip(parts[:-1], parts[1:], strict=True):
            assert c == a + framing.shift * frames(b - a)


def test_models_see_100_s_at_a_time_whatever_their_frames():
    seconds = 16000 * 250
    paper, fast = list(chunks(seconds, PAPER_FRAMING)), list(chunks(seconds, Framing(880, 640)))
    assert [PAPER_FRAMING.frames(b - a) for a, b in paper] == [4166, 4166, 4167]
    assert len(fast) == 3 and all(b - a <= 100 * 16000 for a, b in fast)


@pytest.mark.parametrize("size", ["base", "large", "fast_base"])
def test_every_layer_of_a_speechlm(wave, model_folder, size):
    folder = model_folder(size)
    model = speechlm.SpeechLM.from_pretrained(folder)
    layers, _ = model.extract_features(torch.from_numpy(wave)[None], layers="all")
    for layer in range(1, 5):
        source = open_features("speechlm", folder, layer)
        assert (source.config.dim, source.config.normalize) == (32, size == "large")
        np.testing.assert_allclose(source(wave), layers[layer - 1][0].numpy(), atol=1e-5)
    with pytest.raises(ValueError, match="a number from 1 to 4 expected, got 5"):
        open_features("speechlm", folder, 5)


def test_frames_are_those_of_the_models_front_end(wave, model_folder, monkeypatch):
    layers = [[16, 10, 5]] + [[16, 3, 2]] * 5 + [[16, 2, 2]] * 2
    source = open_features("speechlm", model_folder(conv_layers=layers, label_rate=25), 1)
    assert source.framing == Framing(800, 640)
    whole = source(wave)
    assert len(whole) == (len(wave) - 800) // 640 + 1
    monkeypatch.setattr(module, "chunks", lambda n, framing: chunks(n, framing, 0.8))
    assert len(source(wave)) == len(whole)
    with pytest.raises(ValueError, match="at least 800 samples expected, got 799"):
        source(wave[:799])


@pytest.mark.parametrize("subsampling", [2, 4])
def test_frames_of_a_fast_model(wave, model_folder, monkeypatch, subsampling):
    source = open_features("model", model_folder("fast_base", subsampling=subsampling), 3)
    window = 400 + 160 * (subsampling - 1)
    assert source.framing == Framing(window, 160 * subsampling)
    assert source.config.window == window
    for n in (window, window + 160 * subsampling - 1, 20000, 21000):
        assert len(source(wave[:n])) == (n - window) // (160 * subsampling) + 1
    monkeypatch.setattr(module, "chunks", lambda n, framing: chunks(n, framing, 0.4))
    assert len(source(wave)) == source.framing.frames(len(wave))
    with pytest.raises(ValueError, match=f"at least {window} samples expected, got {window - 1}"):
        source(wave[: window - 1])


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("kind", ["Hubert", "WavLM", "Wav2Vec2"])
def test_every_layer_of_a_huggingface_model(wave, huggingface_folder, kind, large):
    import transformers

    folder = huggingface_folder(kind, large)
    model = getattr(transformers, f"{kind}Model").from_pretrained(folder).eval()
    given = normalized(wave) if large else wave
    with torch.no_grad():
        states = model(torch.from_numpy(given)[None], output_hidden_states=True).hidden_states
    for layer in (1, 2):
        source = open_features("huggingface", str(folder), layer)
        assert (source.config.dim, source.config.normalize) == (24, large)
        np.testing.assert_allclose(source(wave), states[layer][0].numpy(), atol=1e-5)
    with pytest.raises(ValueError, match="a layer from 1 to 3 expected, got 4"):
        open_features("huggingface", str(folder), 4)


def test_a_folder_says_what_it_holds(wave, model_folder, huggingface_folder):
    for kind, folder in (("speechlm", model_folder()), ("huggingface", huggingface_folder())):
        found, named = (open_features(name, str(folder), 2) for name in ("model", kind))
        assert found.config == named.config
        np.testing.assert_array_equal(found(wave), named(wave))
    with pytest.raises(ValueError, match="need a model and the number of a layer"):
        open_features("model", None, 2)


def test_the_preprocessor_says_whether_to_normalise(wave, huggingface_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(huggingface_folder(), folder)
    plain = open_features("huggingface", str(folder), 2)
    values = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(values))
    scaled = open_features("huggingface", str(folder), 2)
    assert scaled.config.normalize and not plain.config.normalize
    np.testing.assert_allclose(scaled(wave), plain(normalized(wave)), atol=1e-5)
    assert abs(scaled(wave) - plain(wave)).max() > 1e-3


def test_the_preprocessor_counts_where_torchaudio_cannot_be_loaded(tmp_path, root):
    values = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": True}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    (tmp_path / "torchaudio.py").write_text("raise OSError('its library cannot be loaded')\n")
    code = (
        f"import sys, types\nsys.path.insert(0, {str(tmp_path)!r})\n"
        "from speechlm.checkpoints.huggingface import _normalizes\n"
        "group = types.SimpleNamespace(feat_extract_norm='group')\n"
        f"print(_normalizes({str(tmp_path)!r}, group, True),"
        f" _normalizes({str(root)!r}, group, True))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "False"], done.stderr


def test_long_audio_is_seen_in_parts(wave, model_folder, monkeypatch):
    monkeypatch.setattr(module, "chunks", lambda n, framing: chunks(n, framing, 0.8))
    source = open_features("speechlm", model_folder(), 1)
    first, last = next(chunks(len(wave), PAPER_FRAMING, 0.8))
    found, part = source(wave), source(wave[first:last])
    assert len(found) == n_labels(len(wave), 0.02)
    np.testing.assert_allclose(found[: len(part)], part, atol=1e-5)


def test_other_features_are_refused(model_folder, huggingface_folder):
    folder, other = model_folder(), model_folder(seed=1)
    config = open_features("speechlm", folder, 2).config
    again = FeatureConfig.from_json(config.to_json(), "x")
    assert again == config
    assert reopen_features(config, "k.npz").config == config
    moved = model_folder()
    assert reopen_features(config, "k.npz", str(moved)).config.weights == config.weights
    with pytest.raises(ValueError, match="k.npz and .* different features: weights"):
        reopen_features(config, "k.npz", str(other))
    with pytest.raises(ValueError, match="different features: kind speechlm and mfcc; dim 32"):
        config.check_same(open_features("mfcc").config, "a", "b")
    with pytest.raises(ValueError, match="x.json: no description"):
        FeatureConfig.from_json("{}", "x.json")
    hugging = open_features("huggingface", str(huggingface_folder()), 2).config
    changed = open_features("huggingface", str(huggingface_folder(seed=1)), 2).config
    assert hugging.weights != changed.weights


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mfcc", "exp/x", None), "MFCC come from no model"),
        (("speechlm", "exp/x", None), "need a model and the number of a layer"),
        (("huggingface", None, 3), "need a model and the number of a layer"),
        (("plp", None, None), "one of mfcc, speechlm, huggingface expected, got 'plp'"),
        (("speechlm", "not/there", 1), "config.yaml expected"),
        (("huggingface", "./not/there", 1), "no such folder, and no name"),
        (("huggingface", "/not", 1), "no such folder, and no name"),
        (("huggingface", "~/not", 1), "no such folder, and no name"),
        (("huggingface", "not/at/all", 1), "no such folder, and no name"),
        (("huggingface", "there/", 1), "no such folder, and no name"),
        (("huggingface", "two words", 1), "no such folder, and no name"),
        (("model", "../not", 1), "no such folder, and no name"),
    ],
)
def test_wrong_options(arguments, message):
    with pytest.raises(ValueError, match=message):
        open_features(*arguments)


@pytest.mark.parametrize("size", ["base", "fast_base"])
def test_a_speechlm_is_no_model_of_huggingface(model_folder, size):
    with pytest.raises(ValueError, match="model folder of this project.*--features speechlm"):
        open_features("huggingface", str(model_folder(size)), 1)


def test_what_is_missing_is_said(huggingface_folder, tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="hf download somebody/hubert --local-dir FOLDER"):
        open_features("huggingface", "somebody/hubert", 1)
    folder = tmp_path / "model"
    shutil.copytree(huggingface_folder(), folder)
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="it has no model.safetensors or pytorch_model.bin"):
        open_features("huggingface", str(folder), 1)
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ValueError, match="is no usable Hugging Face model"):
        open_features("huggingface", str(folder), 1)
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match="it has no config.json"):
        open_features("huggingface", str(folder), 1)


def test_folders_that_are_not_there_are_refused_at_once(root, tmp_path):
    """Before transformers is imported, and without asking the hub."""
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "file").touch()
    code = (
        "import sys, socket\n"
        "from speechlm.checkpoints.huggingface import load_huggingface\n"
        "def stop(*_, **__): raise AssertionError('asks the network')\n"
        "socket.socket.connect = socket.getaddrinfo = stop\n"
        "for name in sys.argv[1:]:\n"
        "    try: load_huggingface(name)\n"
        "    except ValueError as error: print(error)\n"
        "print('transformers' in sys.modules)\n"
    )
    names = ["exp/nowhere", "./nowhere", str(tmp_path / "nowhere"), "a/b/c", "exp/file"]
    done = subprocess.run(
        [sys.executable, "-c", code, *names],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    *said, imported = done.stdout.splitlines()
    assert imported == "False" and len(said) == 5
    assert all("no such folder, and no name of the Hugging Face hub" in line for line in said[:4])
    assert said[4] == "exp/file is a file; the folder of a model is expected"


def test_a_hub_that_does_not_answer_is_waited_for_shortly(monkeypatch):
    import huggingface_hub.constants

    with socket.socket() as silent:  # takes connections, but says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        place = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", place)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        start = time.perf_counter()
        with pytest.raises(
            ValueError, match=r"no such folder, and it could not be fetched.*hf down"
        ):
            open_features("huggingface", "somebody/hubert", 1)
        assert time.perf_counter() - start < 30


def test_models_that_do_not_fit(huggingface_folder, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="type bert; one of hubert, wavlm, wav2vec2"):
        open_features("huggingface", str(tmp_path), 1)
    other = huggingface_folder(conv_stride=[5, 2, 2, 2, 2, 2, 1])
    with pytest.raises(ValueError, match="frames of 400 samples every 320 are expected"):
        open_features("huggingface", str(other), 1)


def test_weights_that_are_not_there_are_not_made_up(huggingface_folder):
    from safetensors.torch import load_file, save_file

    folder = huggingface_folder()
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layers.1.feed_forward.output_dense.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="1 weights are missing: encoder.layers.1.feed_forward"):
        open_features("huggingface", str(folder), 1)
