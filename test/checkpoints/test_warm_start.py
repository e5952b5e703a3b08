"""Weights of HuBERT in SpeechLM: the same front end, the same Transformer; training from them."""

import numpy as np
import pytest
import torch

from speechlm.checkpoints.model_dir import load_speechlm, save_speechlm
from speechlm.checkpoints.torchaudio_cpu import import_torchaudio
from speechlm.checkpoints.warm_start import warm_start
from speechlm.data.vocabulary import PHONES, UnitVocabulary
from speechlm.models import SpeechLM, SpeechLMConfig
from speechlm.tasks.run_pretrain import pretrain

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def make_hubert(folder, large=False, kind="Hubert", **changes):
    """A Hugging Face folder of random weights (norms and biases too), and the model."""
    import_torchaudio()
    import transformers

    torch.manual_seed(7)
    norm = {"do_stable_layer_norm": large, "feat_extract_norm": "layer" if large else "group"}
    config = getattr(transformers, f"{kind}Config")(**(SIZES | norm | changes))
    model = getattr(transformers, f"{kind}Model")(config).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.05 * torch.randn_like(value))
    model.save_pretrained(folder)
    return model


@pytest.fixture
def speechlm_of(model_values):
    """Function that makes a SpeechLM of the same sizes."""

    def make(large=False, **changes):
        torch.manual_seed(0)
        size = SpeechLMConfig.large if large else SpeechLMConfig.base
        return SpeechLM(size(**model_values(**{"speech_layers": 2, **changes})), 9, 33).eval()

    return make


@pytest.fixture(scope="module")
def wave():
    random = np.random.default_rng(0)
    return torch.from_numpy(0.1 * random.normal(size=(2, 17000))).float()


@pytest.mark.parametrize("kind", ["Hubert", "Wav2Vec2"])
@pytest.mark.parametrize("large", [False, True])
def test_front_end_and_layers_compute_what_huggingface_computes(
    speechlm_of, tmp_path, wave, large, kind
):
    hubert = make_hubert(tmp_path, large, kind)
    model = speechlm_of(large)
    start = warm_start(str(tmp_path), model)
    model.load_state_dict(start.taken, strict=False)
    with torch.no_grad():
        expected = hubert.feature_extractor(wave)
        found = model.feature_extractor(wave).transpose(1, 2)
        assert expected.std() > 0.01
        np.testing.assert_allclose(found, expected, atol=1e-5)
        projected = hubert.feature_projection(expected.transpose(1, 2))
        projected = projected[0] if isinstance(projected, tuple) else projected
        np.testing.assert_allclose(model._project(found.transpose(1, 2)), projected, atol=1e-5)
        model.encoder.pos_emb.pe_k.weight.zero_()  # no relative positions in HuBERT
        layers = []
        for layer in hubert.encoder.layers:
            layer.register_forward_hook(
                lambda m, i, out: layers.append(out[0] if isinstance(out, tuple) else out)
            )
        hubert(wave)
        ours = model.encoder(projected, None).layers
    for i in range(2):
        np.testing.assert_allclose(ours[i], layers[i], atol=2e-5)


def test_what_is_taken_is_said(speechlm_of, tmp_path):
    make_hubert(tmp_path / "hubert")
    model = speechlm_of()
    start = warm_start(str(tmp_path / "hubert"), model)
    speech = {
        n for n in model.state_dict() if n.startswith(("feature_extractor", "encoder.layers"))
    }
    speech -= {n for n in speech if "norm_k" in n}
    assert speech < start.taken.keys()
    assert {"mask_emb", "layer_norm.bias", "encoder.pos_conv.0.weight_g"} < start.taken.keys()
    assert all(n.startswith("encoder.layers.2.") for n in start.left) and len(start.left) == 16
    assert "encoder.pos_emb.pe_k.weight" in start.random
    assert {n.split(".")[0] for n in start.random} >= {"unit_encoder", "final_proj_list"}
    assert start.taken.keys() | set(start.random) == model.state_dict().keys()
    start.write(tmp_path / "list.txt")
    lines = (tmp_path / "list.txt").read_text().splitlines()
    assert len(lines) == 1 + len(start.taken) + len(start.left) + len(start.random)
    assert "taken: encoder.layers.1.fc1.weight" in lines
    assert "not taken: encoder.layers.2.attention.k_proj.bias" in lines
    assert "random: encoder.pos_emb.pe_k.weight" in lines


def test_a_shorter_hubert_leaves_layers_at_random(speechlm_of, tmp_path):
    make_hubert(tmp_path, num_hidden_layers=1)
    start = warm_start(str(tmp_path), speechlm_of())
    assert not start.left and "encoder.layers.1.fc1.weight" in start.random


def test_wavlm_gives_what_fits(speechlm_of, tmp_path, wave):
    wavlm = make_hubert(tmp_path, kind="WavLM")
    model = speechlm_of()
    start = warm_start(str(tmp_path), model)
    assert any("rel_attn_embed" in n for n in start.left)
    model.load_state_dict(start.taken, strict=False)
    with torch.no_grad():
        expected = wavlm.feature_extractor(wave)
        found = model.feature_extractor(wave).transpose(1, 2)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_biases_of_the_front_end_have_no_place(speechlm_of, tmp_path, caplog):
    make_hubert(tmp_path, conv_bias=True)
    start = warm_start(str(tmp_path), speechlm_of())
    assert "feature_extractor.conv_layers.3.conv.bias" in start.left
    assert "biases in the convolutions of its front end" in caplog.text


@pytest.mark.parametrize(
    ("large", "changes", "message"),
    [
        (False, {"num_attention_heads": 4}, r"Change model_conf to heads: 4 \(now heads: 2\)"),
        (False, {"hidden_size": 16}, "embed_dim: 16"),
        (False, {"conv_dim": [16] * 6 + [8]}, r"conv_layers: \[\[16, 10, 5\].*\[8, 2, 2\]\]"),
        (True, {}, "conv_norm: layer, pre_norm: True"),
        (False, {"hidden_act": "relu"}, "hidden_act gelu expected, found relu"),
    ],
)
def test_a_model_of_another_shape_is_refused(speechlm_of, tmp_path, large, changes, message):
    make_hubert(tmp_path, large, **changes)
    with pytest.raises(ValueError, match=message):
        warm_start(str(tmp_path), speechlm_of())


def test_from_a_folder_of_ours(speechlm_of, tmp_path, caplog):
    other = speechlm_of(speech_layers=3, unit_dim=8)
    units = UnitVocabulary(map(str, range(4)))
    save_speechlm(tmp_path, other.config, units, other.state_dict())
    model = speechlm_of(normalize_waveform=True)
    start = warm_start(str(tmp_path), model)
    own, theirs = model.state_dict(), other.state_dict()
    for name, value in start.taken.items():
        assert name in own and torch.equal(value, theirs[name])
    assert "encoder.pos_emb.pe_k.weight" in start.taken
    assert "encoder.layers.2.fc1.weight" in start.left and "unit_embed_tokens.weight" in start.left
    assert "not normalised, the new model has normalize_waveform True" in caplog.text
    with pytest.raises(ValueError, match="no such folder"):
        warm_start(str(tmp_path / "not" / "there"), model)


def test_pretraining_starts_from_hubert(model_values, tmp_path, data_options, config, chords):
    """With a learning rate of nothing the weights are still those of HuBERT at the end."""
    hubert = make_hubert(tmp_path / "hubert")
    speech = {k: data_options[k] for k in ("speech_dir", "dev_dir", "seed")}
    optim = {"lr": 0.0, "betas": [0.9, 0.98], "eps": 1.0e-6, "weight_decay": 0.0}
    path = config(
        "pretrain",
        optim_conf=optim,
        max_epoch=1,
        num_iters_per_epoch=2,
        config_size="base",
        model_conf=model_values(speech_layers=2),
        scheduler_conf={"warmup_steps": 0},
    )
    options = speech | {"init_speech": tmp_path / "hubert"}
    folder = pretrain(tmp_path / "exp", path, options)
    model, vocabulary = load_speechlm(folder)
    assert vocabulary.symbols == PHONES
    expected = hubert.state_dict()
    weight = "conv_layers.2.conv.weight"
    assert torch.equal(
        model.feature_extractor.conv_layers[2].conv.weight, expected[f"feature_extractor.{weight}"]
    )
    for i in range(2):
        assert torch.equal(
            model.encoder.layers[i].fc1.weight,
            expected[f"encoder.layers.{i}.feed_forward.intermediate_dense.weight"],
        )
    text = (folder / "init_speech.txt").read_text()
    assert "taken: encoder.layers.1.fc1.weight" in text and "random: unit_encoder." in text
