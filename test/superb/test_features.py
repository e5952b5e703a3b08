"""Upstreams and their layers in archives."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from speechlm.checkpoints.pretrained import SpeechLM
from speechlm.data.kaldi_dir import DataDir
from speechlm.superb import features as module
from speechlm.superb.features import LiveFeatures, StoredFeatures, extract
from speechlm.superb.upstream import open_upstream


@pytest.fixture
def data(make_data_dir, chords):
    """The dev set of the corpus of chords."""
    return DataDir.read(chords / "dev")


def test_layers_are_those_of_the_model_alone(model_folder, data):
    folder = model_folder()
    upstream = open_upstream(str(folder))
    wave = data.waveform(data.ids[0])
    found, _ = SpeechLM.from_pretrained(folder).extract_features(
        torch.from_numpy(wave[None]), layers="all"
    )
    layers = upstream(wave)
    assert layers.shape == (found[0].shape[1], 4, 32)
    assert np.allclose(layers, torch.stack(found, 2)[0].numpy(), atol=1e-6)
    assert upstream.description.framing.frames(len(wave)) == len(layers)


def test_random_weights_are_others_each_time_the_same(model_folder, data):
    folder, wave = model_folder(), data.waveform(data.ids[0])
    trained, first, again = (
        open_upstream(name) for name in (str(folder), f"random:{folder}", f"random:{folder}")
    )
    assert np.array_equal(first(wave), again(wave))
    assert not np.allclose(first(wave), trained(wave), atol=1e-3)
    assert first.description.same_as(again.description)
    assert not first.description.same_as(trained.description)


@pytest.mark.parametrize(("kind", "dim"), [("fbank", 240), ("mfcc", 39)])
def test_acoustic_features(kind, dim, data):
    wave = data.waveform(data.ids[0])
    layers = open_upstream(kind)(wave)
    assert layers.shape == ((len(wave) - 400) // 160 + 1, 1, dim)
    assert np.allclose(layers.mean(0), 0, atol=1e-4) and np.allclose(layers.std(0), 1, atol=1e-2)


@pytest.mark.parametrize("kind", ["fbank", "folder"])
def test_stored_layers_are_the_live_ones(kind, model_folder, data, tmp_path):
    name = str(model_folder()) if kind == "folder" else kind
    upstream = open_upstream(name)
    size = extract(upstream, data, tmp_path / "layers")
    stored, live = StoredFeatures(tmp_path / "layers"), LiveFeatures(upstream, data)
    for utterance in data.ids:
        assert np.array_equal(stored[utterance], live[utterance])
        assert stored[utterance] is stored[utterance]
    assert size == sum(stored[u].nbytes for u in data.ids)
    assert stored.description == live.description
    with pytest.raises(ValueError, match="layers of nobody expected, but they are not there"):
        stored["nobody"]


def test_layers_of_another_model_are_refused(model_folder, data, tmp_path):
    first, second = model_folder(), model_folder(seed=1)
    extract(open_upstream(str(first)), data, tmp_path / "layers")
    with pytest.raises(ValueError, match="holds layers of speechlm .* are expected; remove"):
        extract(open_upstream(str(second)), data, tmp_path / "layers")
    record = tmp_path / "layers" / "features.json"
    record.write_text(json.dumps({"kind": "fbank"}))
    with pytest.raises(ValueError, match="features.json: no description of layers"):
        StoredFeatures(tmp_path / "layers")
    record.unlink()
    with pytest.raises(ValueError, match="extract the layers first"):
        StoredFeatures(tmp_path / "layers")


def test_short_utterances_are_named(data, tmp_path):
    data = dataclasses.replace(data, n_samples={**data.samples(), data.ids[1]: 300})
    with pytest.raises(ValueError, match=f"1 utterances are shorter.*: {data.ids[1]}; leave"):
        extract(open_upstream("fbank"), data, tmp_path / "layers")


def test_a_small_disk_is_said_before_anything_is_computed(data, tmp_path, monkeypatch):
    usage = dataclasses.make_dataclass("Usage", ["free"])
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage(1000))
    with pytest.raises(ValueError, match="--on_the_fly true"):
        extract(open_upstream("mfcc"), data, tmp_path / "layers")
    assert not list((tmp_path / "layers").iterdir())


def test_a_folder_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no usable Hugging Face model"):
        (tmp_path / "x").mkdir()
        open_upstream(str(tmp_path / "x"))
    with pytest.raises(ValueError, match="no such folder"):
        open_upstream(str(tmp_path / "exp" / "gone"))


def test_a_hugging_face_model_gives_its_layers(tmp_path, data):
    from speechlm.checkpoints.torchaudio_cpu import import_torchaudio

    import_torchaudio()
    import transformers

    torch.manual_seed(0)
    config = transformers.HubertConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=[8] * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    model = transformers.HubertModel(config).eval()
    model.save_pretrained(tmp_path / "hubert")
    wave = data.waveform(data.ids[0])
    upstream = open_upstream(str(tmp_path / "hubert"))
    with torch.no_grad():
        states = model(torch.from_numpy(wave[None]), output_hidden_states=True).hidden_states
    expected = torch.stack(states[1:], 2)[0].numpy()
    assert np.allclose(upstream(wave), expected, atol=1e-5)
    random = open_upstream(f"random:{tmp_path / 'hubert'}")
    assert random(wave).shape == expected.shape and not np.allclose(random(wave), expected)
