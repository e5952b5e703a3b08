"""Very small trained models in every form, exported. Without transformers tests are skipped."""

import numpy as np
import pytest
import torch

from speechlm.checkpoints.model_dir import Description, save_model
from speechlm.data.vocabulary import CharacterVocabulary, UnitVocabulary
from speechlm.models import SpeechLMConfig

CONV = [[16, 10, 5], [16, 8, 4], [16, 4, 4], [16, 4, 4]]
"""Frames as the paper's, in fewer convolutions: 20 ms."""


@pytest.fixture(scope="session", autouse=True)
def transformers():
    """transformers, in which SpeechLM is known."""
    pytest.importorskip("transformers", reason="transformers is not installed")
    import transformers

    import speechlm.hub

    assert speechlm.hub
    transformers.logging.disable_progress_bar()
    return transformers


@pytest.fixture(scope="session")
def network_config(model_values, fast_values):
    """Function: name of a size, changes -> configuration of a very small network of its kind."""

    def make(size: str, **changes) -> SpeechLMConfig:
        fast = size.startswith("fast")
        values = {"speech_layers": 1, "shared_layers": 1, **changes}
        values = fast_values(**values) if fast else model_values(conv_layers=CONV, **values)
        return getattr(SpeechLMConfig, size)(**values)

    return make


@pytest.fixture(scope="session")
def trained(tmp_path_factory, network_config, waves):
    """Function: size, kind -> folder of a model that writes many letters."""
    made = {}

    def make(size: str, kind: str = "ctc"):
        if (size, kind) not in made:
            torch.manual_seed(1)
            config = network_config(size)
            units = UnitVocabulary(map(str, range(9)), origin="a test")
            description = Description(config, kind, units, CharacterVocabulary.symbols)
            model = description.build().eval()
            write_letters(model, waves)
            path = tmp_path_factory.mktemp("trained") / f"{size}_{kind}"
            save_model(path, description, model.state_dict(), imported_from="a test")
            made[size, kind] = path
        return made[size, kind]

    return make


@torch.no_grad()
def write_letters(model, waves):
    """Give the CTC head's output layer scores that differ much, around the mean of its inputs."""
    head = model.unit_encoder_ctc_head
    seen = [head.before_output(model.encode(torch.from_numpy(w)[None]).features)[0] for w in waves]
    head.output_layer.weight.mul_(20)
    head.output_layer.bias.copy_(-head.output_layer.weight @ torch.cat(seen).mean(0))


@pytest.fixture(scope="session")
def exported(trained, tmp_path_factory):
    """Function: size, kind -> the same for transformers."""
    made = {}

    def make(size: str, kind: str = "ctc"):
        from speechlm.hub.card import Card
        from speechlm.hub.export import export_huggingface

        if (size, kind) not in made:
            path = tmp_path_factory.mktemp("exported") / f"{size}_{kind}"
            export_huggingface(trained(size, kind), path, Card())
            made[size, kind] = path
        return made[size, kind]

    return make


@pytest.fixture(scope="session")
def waves():
    """Waveforms of different lengths and loudness."""
    random = np.random.default_rng(0)
    levels = {9000: 1.0, 5123: 0.3, 1600: 0.1, 7040: 0.03}
    return [(random.standard_normal(n) * level).astype("float32") for n, level in levels.items()]


@pytest.fixture
def batch(waves):
    """(waveforms, attention_mask) padded on the right, and the lengths."""
    lengths = [len(wave) for wave in waves]
    padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(w) for w in waves], True)
    mask = (torch.arange(padded.shape[1]) < torch.tensor(lengths)[:, None]).long()
    return padded, mask, lengths
