"""Small SpeechLMs of both architectures and a batch for them."""

import pytest
import torch

from speechlm.models import SpeechLM, SpeechLMConfig

SMALL = {
    "conv_layers": ((16, 10, 5),) + ((16, 3, 2),) * 4 + ((16, 2, 2),) * 2,
    "embed_dim": 32,
    "ffn_dim": 64,
    "heads": 4,
    "speech_layers": 2,
    "shared_layers": 2,
    "pos_conv_kernel": 16,
    "pos_conv_groups": 4,
    "unit_dim": 16,
    "max_positions": 300,
}

FAST = {
    "mel_channels": 20,
    "subsampling_channels": 16,
    "embed_dim": 32,
    "ffn_dim": 64,
    "heads": 4,
    "speech_layers": 2,
    "shared_layers": 2,
    "label_rate": 100,
}


@pytest.fixture
def small_config():
    """Function: changes -> config of a very small Base-like model."""
    return lambda **changes: SpeechLMConfig.from_dict({**SMALL, **changes})


@pytest.fixture
def small_model(small_config):
    """Function: changes -> SpeechLM with fixed random weights, 20 units, 12 characters."""

    def build(**changes):
        torch.manual_seed(1)
        return SpeechLM(small_config(**changes), 20, 12)

    return build


@pytest.fixture
def fast_config():
    """Function: changes -> config of a very small SpeechLM-Fast."""
    return lambda **changes: SpeechLMConfig.fast_base(**{**FAST, **changes})


@pytest.fixture
def fast_model(fast_config):
    """Function: changes -> SpeechLM-Fast with fixed random weights, 20 units, 12 characters."""

    def build(**changes):
        torch.manual_seed(1)
        return SpeechLM(fast_config(**changes), 20, 12)

    return build


@pytest.fixture
def batch():
    """Keyword arguments of SpeechLM.forward: three utterances of unequal length, two sentences."""
    generator = torch.Generator().manual_seed(2)
    lengths = torch.tensor([24000, 16400, 9000])
    waveforms = torch.randn(3, 24000, generator=generator)
    labels = torch.randint(4, 19, (3, 148), generator=generator)
    for row, length in enumerate(lengths.tolist()):
        waveforms[row, length:] = 0.0
        labels[row, (length - 400) // 160 + 1 :] = 1
    units = torch.randint(4, 19, (2, 60), generator=generator)
    characters = torch.randint(4, 12, (2, 9), generator=generator)
    units[0, -1] = characters[0, -1] = 2
    units[1, 45:], units[1, 44] = 1, 2
    characters[1, 7:], characters[1, 6] = 1, 2
    return {
        "waveforms": waveforms,
        "sample_lengths": lengths,
        "labels": labels,
        "units": units,
        "characters": characters,
    }
