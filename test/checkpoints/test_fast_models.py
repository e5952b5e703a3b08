"""Folders of fast models of every kind; what cannot be made of them is refused before it begins."""

import pytest
import torch

import speechlm
from speechlm.checkpoints.authors_config import to_authors
from speechlm.checkpoints.authors_export import export_checkpoint
from speechlm.checkpoints.load_ctc import load_model
from speechlm.checkpoints.model_dir import (
    DECODER,
    SIZES,
    Description,
    load_config,
    load_speechlm,
    load_translation,
    save_model,
    save_speechlm,
)
from speechlm.checkpoints.warm_start import warm_start
from speechlm.data.vocabulary import CharacterVocabulary, UnitVocabulary
from speechlm.models import SpeechLM, SpeechLMConfig
from speechlm.models.heads import PREDICTIONS
from speechlm.models.translation_decoder import TranslationDecoder, TranslationDecoderConfig

UNITS = UnitVocabulary(map(str, range(9)))
FAST_SIZES = [name for name in SIZES if name.startswith("fast")]


@pytest.fixture
def fast_model(fast_values):
    """Function: changes -> a very small fast model of random weights."""

    def make(**changes):
        torch.manual_seed(0)
        config = SpeechLMConfig.fast_tiny(**fast_values(**changes))
        return SpeechLM(config, UNITS.n_ids, CharacterVocabulary.n_ids).eval()

    return make


@pytest.fixture
def wave():
    return 0.1 * torch.randn(1, 9000, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", FAST_SIZES)
def test_every_size_is_built_without_memory(size):
    """As a folder's weights are compared with its configuration before they are read."""
    with torch.device("meta"):
        model = SpeechLM(SIZES[size](), UNITS.n_ids, CharacterVocabulary.n_ids)
    assert all(weight.is_meta for weight in model.state_dict().values())


def test_a_pretrained_folder_comes_back(fast_model, wave, tmp_path):
    model = fast_model()
    save_speechlm(tmp_path, model.config, UNITS, model.state_dict())
    opened = speechlm.SpeechLM.from_pretrained(tmp_path)
    assert opened.config == model.config and opened.config.is_fast
    features, frames = opened.extract_features(wave)
    assert features.shape == (1, 13, 32) and frames.tolist() == [13]
    assert torch.equal(features, model.extract_features(wave)[0])
    assert load_config(tmp_path, dropout=0.5)[0].dropout == 0.5


@pytest.mark.parametrize("with_units", [True, False])
def test_a_ctc_folder_comes_back(fast_model, wave, tmp_path, with_units):
    """Without units there are no scores of them either, which have a row for each."""
    model = fast_model()
    weights = model.state_dict()
    if not with_units:
        weights = {n: w for n, w in weights.items() if not n.startswith(PREDICTIONS)}
    units = UNITS if with_units else None
    description = Description(model.config, "ctc", units, CharacterVocabulary.symbols)
    save_model(tmp_path, description, weights)
    opened = speechlm.SpeechLM.from_pretrained(tmp_path)
    assert torch.equal(opened.extract_features(wave)[0], model.extract_features(wave)[0])
    left = {n for n in opened.state_dict() if n.startswith(PREDICTIONS)}
    assert bool(left) == with_units
    reader = load_model(tmp_path)
    logits, outputs = reader(wave, torch.tensor([9000]))
    with torch.no_grad():
        expected = model.ctc_logits(model.encode(wave))
    assert outputs.tolist() == [26] and reader.framing.frames(9000) == 26
    torch.testing.assert_close(logits, expected[:, :26])
    assert reader.framing.seconds == 0.02


def test_a_translation_folder_comes_back(fast_model, wave, tmp_path):
    model, sizes = fast_model(), {"encoder_dim": 32, "embed_dim": 16, "ffn_dim": 16, "heads": 2}
    config = TranslationDecoderConfig(**sizes, layers=1)
    decoder = TranslationDecoder(config, 12).eval()
    tokens = tuple(f"t{n}" for n in range(12))
    kind = Description(model.config, "translation", decoder=config, targets=tokens)
    weights = {n: w for n, w in model.state_dict().items() if not n.startswith(PREDICTIONS)}
    weights = {n: w for n, w in weights.items() if "ctc_head" not in n}
    weights |= {DECODER + name: value for name, value in decoder.state_dict().items()}
    save_model(tmp_path, kind, weights)
    opened = speechlm.SpeechLM.from_pretrained(tmp_path)
    assert torch.equal(opened.extract_features(wave)[0], model.extract_features(wave)[0])
    encoder, found, symbols = load_translation(tmp_path)
    assert encoder.config == model.config and symbols == tokens
    assert torch.equal(found.output_projection.weight, decoder.output_projection.weight)


@pytest.mark.parametrize("kind", ["pretrained", "ctc"])
def test_the_authors_form_is_refused_and_nothing_is_written(fast_model, tmp_path, kind):
    model = fast_model()
    description = Description(model.config, kind, UNITS, CharacterVocabulary.symbols)
    save_model(tmp_path / "fast", description, model.state_dict())
    (tmp_path / "fast" / "model.safetensors").write_bytes(b"")  # it is not even read
    with pytest.raises(ValueError, match=r"fast is of architecture fast, with log-mel.*waveform"):
        export_checkpoint(tmp_path / "fast", tmp_path / "out" / "speechlm.pt")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="this model is of architecture fast"):
        to_authors(model.config)


def test_changes_for_the_other_architecture_name_the_option(fast_model, model_folder, tmp_path):
    model = fast_model()
    save_speechlm(tmp_path, model.config, UNITS, model.state_dict())
    of_paper = {"feature_grad_mult": 0.0, "dropout": 0.0}
    for folder, changes, message in (
        (tmp_path, of_paper, "^feature_grad_mult: a model of architecture fast has 1.0, got 0.0"),
        (tmp_path, {"input_dropout": 0.0}, "^input_dropout: a model of architecture fast has none"),
        (
            model_folder(),
            {"subsampling": 2},
            "^subsampling: a model of architecture paper has none",
        ),
    ):
        with pytest.raises(ValueError, match=message) as error:
            load_speechlm(folder, **changes)
        text = str(error.value)
        assert "encoder_conf.speechlm" in text and str(folder) in text and "\n" not in text
    with pytest.raises(ValueError, match='unknown model option "dropouts".*"dropout"') as error:
        load_speechlm(model_folder(), dropouts=0.1)
    assert "architecture" not in str(error.value)  # wrong for any model


def test_layers_of_a_fast_model_for_another(fast_model, tmp_path, caplog):
    """As many as both have; the rest starts at random."""
    other = fast_model(speech_layers=3, shared_layers=2)
    save_speechlm(tmp_path, other.config, UNITS, other.state_dict())
    model = fast_model(speech_layers=2, mask_prob=0.1, dropout=0.3)
    start = warm_start(str(tmp_path), model)
    own, theirs = model.state_dict(), other.state_dict()
    assert {n for n in own if n.startswith(("feature_extractor", "encoder."))} < start.taken.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in start.taken.items())
    assert {"encoder.layers.2.fc1.weight", "unit_encoder.layers.0.fc1.weight"} <= set(start.left)
    assert {n.split(".")[0] for n in start.random} == {
        *("unit_encoder", "unit_embed_tokens", "final_proj_list", "unit_encoder_ctc_head")
    }
    assert "normalised" not in caplog.text
    deeper = warm_start(str(tmp_path), fast_model(speech_layers=4))
    assert "encoder.layers.3.fc1.weight" in deeper.random


@pytest.mark.parametrize(
    "changes, wanted",
    [
        ({"heads": 4}, r"heads: 2 \(now heads: 4\)"),
        ({"subsampling": 2}, r"subsampling: 4 \(now subsampling: 2\)"),
        ({"depthwise_kernel": 1}, "depthwise_kernel: 7"),
        ({"mel_channels": 40, "embed_dim": 64}, "mel_channels: 20, embed_dim: 32"),
    ],
)
def test_a_fast_model_of_another_shape_is_refused(fast_model, tmp_path, changes, wanted):
    """Also where every weight would fit, as with another number of heads or frame rate."""
    model = fast_model()
    save_speechlm(tmp_path, model.config, UNITS, model.state_dict())
    with pytest.raises(ValueError, match=f"Change model_conf to {wanted}"):
        warm_start(str(tmp_path), fast_model(**changes))


def test_nothing_is_taken_over_from_the_other_architecture(
    fast_model, model_folder, tmp_path, monkeypatch
):
    model = fast_model()
    save_speechlm(tmp_path, model.config, UNITS, model.state_dict())
    paper = speechlm.SpeechLM.from_pretrained(model_folder())
    with pytest.raises(ValueError, match="--init_speech: .* of architecture fast .log-mel.*paper"):
        warm_start(str(tmp_path), paper)
    with pytest.raises(
        ValueError, match="is a SpeechLM of architecture paper .*rotary.*Give a Spe"
    ):
        warm_start(str(model_folder()), model)
    monkeypatch.setattr("speechlm.checkpoints.warm_start.load_huggingface", None)  # not asked for
    for name in ("facebook/hubert-base-ls960", str(tmp_path / "nowhere")):
        with pytest.raises(ValueError, match=f"{name} is no folder of a SpeechLM: a HuBERT is of"):
            warm_start(name, model)
