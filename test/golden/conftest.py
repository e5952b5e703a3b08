"""Tensors that the authors' code gave on tiny random models (see README.md beside this file)."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from speechlm.models import SpeechLM, SpeechLMConfig

CORE = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("SPEECHLM_SHARED", CORE.parents[2] / "shared")) / "golden"


class GoldenArrays:
    """The arrays of one .npz file; a test that asks for one that is not here is skipped."""

    def __init__(self, arrays, name):
        self.arrays, self.name = arrays, name

    def __getitem__(self, key):
        if key not in self.arrays:
            pytest.skip(f"{key} of {self.name} is only in the full golden set, {SHARED}")
        value = self.arrays[key]
        return value if value.dtype.kind == "U" else torch.from_numpy(np.array(value))

    def __contains__(self, key):
        return key in self.arrays

    def keys(self):
        return list(self.arrays)


def find(name):
    """The file in the full set if it is there, else in the core set, else skip."""
    for folder in (SHARED, CORE):
        if (folder / name).is_file():
            return folder / name
    return pytest.skip(f"no {name} in {SHARED} nor in {CORE}")


@pytest.fixture(scope="session")
def golden_arrays():
    """Function: name of an .npz file -> GoldenArrays."""
    loaded = {}

    def load(name):
        if name not in loaded:
            loaded[name] = GoldenArrays(np.load(find(name), allow_pickle=False), name)
        return loaded[name]

    return load


@pytest.fixture
def golden_model():
    """Function: name of a .pt file, config changes -> SpeechLM with those weights."""

    def load(name, **changes):
        checkpoint = torch.load(find(name), weights_only=True)
        weights = checkpoint["model"]
        config = config_of(checkpoint["cfg"]).to_dict()
        model = SpeechLM(SpeechLMConfig.from_dict({**config, **changes}), 45, 33)
        missing, unexpected = model.load_state_dict(weights, strict=False)
        assert not unexpected
        cleaned = ("label_embs_list.", "unit_embed_tokens.", "unit_encoder.embed_tokens.",
                   "unit_encoder_ctc_head.")  # fmt: skip
        assert all(key.startswith(cleaned) for key in missing)
        assert not missing or "label_symbols" not in checkpoint
        return model

    return load


def config_of(cfg):
    """The authors' configuration in our terms."""
    model, text = cfg["model"], cfg["model"]["text_transformer"]
    assert model["conv_feature_layers"] == "[(32,10,5)] + [(32,3,2)] * 4 + [(32,2,2)] * 2"
    return SpeechLMConfig(
        conv_layers=((32, 10, 5),) + ((32, 3, 2),) * 4 + ((32, 2, 2),) * 2,
        conv_norm="layer" if model["extractor_mode"] == "layer_norm" else "group",
        normalize_waveform=cfg["task"]["normalize"],
        feature_grad_mult=model["feature_grad_mult"],
        embed_dim=model["encoder_embed_dim"],
        ffn_dim=model["encoder_ffn_embed_dim"],
        heads=model["encoder_attention_heads"],
        speech_layers=model["encoder_layers"],
        shared_layers=text["encoder"]["layers"],
        pre_norm=model["layer_norm_first"],
        pos_conv_kernel=model["conv_pos"],
        pos_conv_groups=model["conv_pos_groups"],
        max_positions=text["max_source_positions"],
        dropout=model["dropout"],
        attention_dropout=model["attention_dropout"],
        activation_dropout=model["activation_dropout"],
        input_dropout=model["dropout_input"],
        speech_layerdrop=model["encoder_layerdrop"],
        shared_layerdrop=text["encoder"]["layerdrop"],
        unit_dim=model["final_dim"],
        temperature=model["logit_temp"],
        mask_prob=model["mask_prob"],
        mask_length=model["mask_length"],
        label_rate=model["label_rate"],
    )


@pytest.fixture
def padded_inputs():
    """Function: GoldenArrays of tiny_*_io, case, whether Large -> (waveforms, lengths or None)."""

    def build(arrays, case, normalize):
        names = {"batch": "bc", "batch_nomask": "bc", "batch_ab": "ab"}.get(case) or case[7]
        waves = [arrays[f"wav_{name}"] for name in names]
        if normalize:
            waves = [F.layer_norm(wave, wave.shape) for wave in waves]
        lengths = torch.tensor([len(wave) for wave in waves])
        batch = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
        unmasked = case in ("batch_nomask", "single_a", "single_b", "single_c")
        return batch, None if unmasked else lengths

    return build


@pytest.fixture
def close():
    """Function that asserts agreement within the tolerances of the golden README."""

    def check(got, expected, name="", atol=3e-5, rtol=1e-5):
        got, expected = torch.as_tensor(got).detach().double(), torch.as_tensor(expected).double()
        torch.testing.assert_close(
            got, expected, atol=atol, rtol=rtol, msg=lambda text: f"{name}: {text}"
        )

    return check


@pytest.fixture
def check_gradient_norms():
    """Function: model, names, norms -> asserts every parameter's gradient norm (-1: none)."""

    def check(named_parameters, names, norms, translate=lambda name: name):
        parameters = dict(named_parameters)
        checked = 0
        for name, norm in zip(names, norms.tolist(), strict=True):
            ours = translate(str(name))
            if ours is None:
                continue
            gradient = parameters[ours].grad
            if norm < 0:
                assert gradient is None or not gradient.any(), f"{name}: no gradient expected"
                continue
            noise = ours.endswith(("k_proj.bias", "norm_k.bias"))
            tolerance = 1e-3 if noise else max(1e-4 * norm, 1e-6)
            got = 0.0 if gradient is None else gradient.norm().item()
            assert abs(got - norm) <= tolerance, f"{name}: gradient norm {got}, expected {norm}"
            checked += 1
        return checked

    return check
