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
