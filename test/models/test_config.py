import dataclasses

import pytest
import torch

from speechlm.conventions import Framing
from speechlm.models import SpeechLM, SpeechLMConfig


def test_defaults_are_the_papers_base_model():
    base = SpeechLMConfig.base()
    assert base == SpeechLMConfig()
    assert (base.embed_dim, base.speech_layers, base.shared_layers, base.heads) == (768, 6, 6, 8)
    assert base.framing == Framing(400, 320)
    large = SpeechLMConfig.large()
    assert (large.embed_dim, large.speech_layers, large.heads, large.pre_norm) == (
        1024,
        12,
        16,
        True,
    )


def test_dict_round_trip():
    config = SpeechLMConfig.tiny(mask_prob=0.5)
    assert SpeechLMConfig.from_dict(config.to_dict()) == config
    assert isinstance(config.to_dict()["conv_layers"][0], list)


def test_unknown_key_names_the_nearest():
    with pytest.raises(ValueError, match='unknown model option "mask_probability".*"mask_prob"'):
        SpeechLMConfig.from_dict({"mask_probability": 0.5})


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"conv_norm": "batch"}, "conv_norm"),
        ({"heads": 7}, "multiple of heads"),
        ({"embed_dim": 0}, "embed_dim: expected a positive integer"),
        ({"embed_dim": "768"}, "embed_dim"),
        ({"label_rate": 75}, "label_rate"),
        ({"dropout": 1.5}, r"dropout: expected a number in \[0, 1\]"),
        ({"mask_prob": "0.8"}, "mask_prob"),
        ({"conv_layers": [[512, 10]]}, "conv_layers"),
        ({"temperature": 0}, "temperature"),
        ({"feature_grad_mult": -0.1}, "feature_grad_mult"),
    ],
)
def test_wrong_values(changes, message):
    with pytest.raises(ValueError, match=message):
        SpeechLMConfig.from_dict(changes)


@pytest.mark.parametrize("size", ["base", "large"])
def test_parameters_are_the_authors(size, shared):
    lines = (shared / "golden" / f"keys_{size}.txt").read_text().splitlines()
    expected = {}
    for line in lines:
        if not line.startswith("#"):
            key, shape = line.split("\t")[:2]
            expected[key] = shape
    with torch.device("meta"):
        model = SpeechLM(getattr(SpeechLMConfig, size)(), 369, 33)
    assert {key: str(tuple(value.shape)) for key, value in model.state_dict().items()} == expected


def test_tiny_is_tiny():
    model = SpeechLM(SpeechLMConfig.tiny(), 369, 33)
    assert sum(p.numel() for p in model.parameters()) < 6e6


FAST_SIZES = ["fast_tiny", "fast_base", "fast_large"]
PAPER_FIELDS = {
    "conv_layers": [[8, 10, 5]],
    "conv_norm": "layer",
    "pos_conv_kernel": 64,
    "pos_conv_groups": 8,
    "relative_clip": 80,
    "max_positions": 100,
    "input_dropout": 0.2,
    "unit_dim": 64,
    "temperature": 0.2,
}
FIXED = {
    "normalize_waveform": True,
    "ignore_padding": False,
    "feature_grad_mult": 0.1,
    "pre_norm": False,
    "feature_penalty_weight": 10.0,
}
FAST_FIELDS = {
    "mel_channels": 40,
    "mel_warp": 0.1,
    "subsampling": 2,
    "subsampling_channels": 64,
    "depthwise_kernel": 1,
}


@pytest.mark.parametrize("size", FAST_SIZES)
@pytest.mark.parametrize("name", PAPER_FIELDS)
def test_a_fast_model_has_no_field_of_the_papers(size, name):
    with pytest.raises(ValueError, match=f"{name}: a model of architecture fast has none.*leave"):
        getattr(SpeechLMConfig, size)(**{name: PAPER_FIELDS[name]})


@pytest.mark.parametrize("name", FIXED)
def test_a_fast_model_has_one_value_of_some_fields(name):
    with pytest.raises(ValueError, match=f"{name}: a model of architecture fast has"):
        SpeechLMConfig.fast_tiny(**{name: FIXED[name]})


@pytest.mark.parametrize("size", ["tiny", "base", "large"])
@pytest.mark.parametrize("name", FAST_FIELDS)
def test_the_papers_model_has_no_field_of_a_fast_one(size, name):
    with pytest.raises(ValueError, match=f"{name}: a model of architecture paper has none"):
        getattr(SpeechLMConfig, size)(**{name: FAST_FIELDS[name]})


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"architecture": "faster"}, 'architecture: expected "paper" or "fast"'),
        ({"subsampling": 3}, "subsampling: expected 2 or 4, got 3"),
        ({"subsampling": 8}, "subsampling: expected 2 or 4, got 8"),
        ({"depthwise_kernel": 4}, "depthwise_kernel: expected an odd number, got 4"),
        ({"depthwise_kernel": 0}, "depthwise_kernel"),
        ({"depthwise_kernel": -1}, "depthwise_kernel"),
        ({"embed_dim": 36, "heads": 4}, "heads of an even width, got 9"),
        ({"embed_dim": 36, "heads": 5}, "multiple of heads"),
        ({"mel_channels": 0}, "mel_channels"),
        ({"label_rate": 30}, r"label_rate: expected a multiple of the frame rate \(25 Hz\)"),
        ({"label_rate": 25, "subsampling": 2}, r"frame rate \(50 Hz\), got 25"),
    ],
)
def test_wrong_values_of_a_fast_model(changes, message):
    with pytest.raises(ValueError, match=message):
        SpeechLMConfig.fast_tiny(**changes)


@pytest.mark.parametrize("size", FAST_SIZES)
def test_fast_dict_round_trip(size):
    config = getattr(SpeechLMConfig, size)(mask_prob=0.5, depthwise_kernel=5, subsampling=2)
    values = config.to_dict()
    assert values["architecture"] == "fast" and not PAPER_FIELDS.keys() & values.keys()
    assert SpeechLMConfig.from_dict(values) == config
    # What is written says all: nothing is taken from defaults that may change.
    named = {field.name for field in dataclasses.fields(config)}
    assert values.keys() == named - PAPER_FIELDS.keys()


@pytest.mark.parametrize("size", ["tiny", "base", "large"])
def test_what_is_written_of_the_papers_models_is_as_it_was(size):
    values = getattr(SpeechLMConfig, size)().to_dict()
    named = {field.name for field in dataclasses.fields(SpeechLMConfig)}
    assert values.keys() == named - FAST_FIELDS.keys() - {"architecture"}
    assert SpeechLMConfig.from_dict(values) == getattr(SpeechLMConfig, size)()


@pytest.mark.parametrize(
    "subsampling, framing, outputs", [(2, Framing(560, 320), 1), (4, Framing(880, 640), 2)]
)
def test_frames_and_outputs_of_a_fast_model(subsampling, framing, outputs):
    config = SpeechLMConfig.fast_tiny(subsampling=subsampling)
    assert config.framing == framing and config.ctc_outputs == outputs
    assert config.ctc_framing.seconds == 0.02 and config.ctc_framing.rate == 50
    for samples in (0, 559, 879, 880, 1519, 1520, 16000):
        assert config.ctc_framing.frames(samples) == outputs * framing.frames(samples)
    assert SpeechLMConfig.base().ctc_framing == SpeechLMConfig.base().framing


@pytest.mark.parametrize("fast, paper", [("fast_base", "base"), ("fast_large", "large")])
def test_a_fast_model_is_about_as_large_as_the_papers(fast, paper):
    sizes = []
    for size in (fast, paper):
        with torch.device("meta"):
            model = SpeechLM(getattr(SpeechLMConfig, size)(), 369, 33)
        sizes.append(sum(p.numel() for p in model.parameters()))
    assert 0.9 < sizes[0] / sizes[1] < 1.05, sizes
