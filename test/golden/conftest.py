"""Tensors that the authors' code gave on tiny random models (see README.md beside this file)."""

import gzip
import io
import os
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from speechlm import kernels
from speechlm.checkpoints.authors_config import conv_layers
from speechlm.conventions import PAD
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.models import SpeechLM, SpeechLMConfig

CORE = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("SPEECHLM_SHARED", CORE.parents[2] / "shared")) / "golden"


needs_interpreter = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1",
    reason="kernels in Triton: needs triton, and TRITON_INTERPRET=1 where there is no GPU",
)
WAYS = ["kernels", "plain", "gpu", pytest.param("triton", marks=needs_interpreter)]


@pytest.fixture(params=WAYS, autouse=True)
def path(request, like_a_gpu):
    """Every test runs with the CPU's kernels, with plain twins, and with the kernels of GPUs.

    Where Triton's interpreter is on, it runs with the kernels in Triton, too.
    """
    ways = {
        "kernels": nullcontext,
        "plain": kernels.plain,
        "gpu": like_a_gpu,
        "triton": kernels.triton,
    }
    with ways[request.param]():
        yield request.param


class GoldenArrays:
    """The arrays of one .npz file.

    A test that asks for one that only the full set has is skipped where there is but the core.
    `optional` says whether to go on without it.
    """

    def __init__(self, path):
        self.arrays, self.path = np.load(path, allow_pickle=False), path

    def __getitem__(self, key):
        if not self.optional(key):
            pytest.skip(f"{key} of {self.path.name} is only in the full golden set, {SHARED}")
        value = self.arrays[key]
        return value if value.dtype.kind == "U" else torch.from_numpy(np.array(value))

    def optional(self, key):
        """Whether the key is here; the full set must have it."""
        if key not in self.arrays and self.path.parent != CORE:
            raise KeyError(f"{self.path} has no {key}")
        return key in self.arrays

    def __contains__(self, key):
        return key in self.arrays


def find(*names):
    """The first of the names in the full set, else in the core set, else skip."""
    for folder in (SHARED, CORE):
        for name in names:
            if (folder / name).is_file():
                return folder / name
    return pytest.skip(f"no {names[0]} in {SHARED} nor in {CORE}")


@pytest.fixture(scope="session")
def golden_arrays():
    """Function: name of an .npz file -> GoldenArrays."""
    loaded = {}

    def load(name):
        if name not in loaded:
            loaded[name] = GoldenArrays(find(name))
        return loaded[name]

    return load


@pytest.fixture(scope="session")
def golden_checkpoint():
    """Function: name of a .pt file (the core keeps them gzipped) -> what it holds."""

    def load(name):
        path = find(name, name + ".gz")
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        return torch.load(io.BytesIO(content), weights_only=True)

    return load


@pytest.fixture
def golden_model(golden_checkpoint):
    """Function: name of a .pt file, config changes -> SpeechLM with those weights."""

    def load(name, **changes):
        checkpoint = golden_checkpoint(name)
        weights = checkpoint["model"]
        config = config_of(checkpoint).to_dict()
        model = SpeechLM(
            SpeechLMConfig.from_dict({**config, **changes}), *dictionary_sizes(weights)
        )
        missing, unexpected = model.load_state_dict(weights, strict=False)
        assert not unexpected
        cleaned = (
            "label_embs_list.",
            "unit_embed_tokens.",
            "unit_encoder.embed_tokens.",
            "unit_encoder_ctc_head.",
        )
        assert all(key.startswith(cleaned) for key in missing)
        assert not missing or "label_symbols" not in checkpoint
        return model

    return load


def dictionary_sizes(weights):
    """Units and characters of a model, special ids included; any, where it is without."""
    units, characters = (
        weights.get(name) for name in ("label_embs_list.0", "unit_encoder_ctc_head.5.weight")
    )
    return (
        PAD + 1 if units is None else len(units),
        CharacterVocabulary.n_ids if characters is None else len(characters),
    )


def config_of(checkpoint):
    """The authors' configuration in our terms."""
    cfg = checkpoint["cfg"]
    model, text = cfg["model"], cfg["model"]["text_transformer"]
    return SpeechLMConfig(
        conv_layers=conv_layers(model["conv_feature_layers"], "golden"),
        relative_clip=len(checkpoint["model"]["encoder.pos_emb.pe_k.weight"]) // 2,
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
def padded_inputs(golden_arrays):
    """Function: case, whether Large -> (waveforms, lengths or None).

    Waveforms are raw, but for `batch_nomask` of Large, where the authors' caller has normalised
    each before padding and the lengths are not given on.
    """

    arrays = golden_arrays("tiny_large_io.npz")  # both sizes have the same
    return lambda case, normalize: pad_waves(arrays, case, normalize)


def pad_waves(arrays, case, normalize):
    """What `padded_inputs` gives, from arrays that have `wav_a`, `wav_b` and `wav_c`."""
    names = {"batch": "bc", "batch_nomask": "bc", "batch_ab": "ab"}.get(case) or case[7]
    waves = [arrays[f"wav_{name}"] for name in names]
    if normalize and case == "batch_nomask":
        waves = [F.layer_norm(wave, wave.shape) for wave in waves]
    lengths = torch.tensor([len(wave) for wave in waves])
    batch = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
    unmasked = case in ("batch_nomask", "single_a", "single_b", "single_c")
    return batch, None if unmasked else lengths


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
    """Function: model, names, norms -> asserts every parameter's gradient norm (-1: none).

    Parameters that are not named must be without gradient.
    """

    def check(named_parameters, names, norms, translate=lambda name: name):
        parameters = dict(named_parameters)
        checked = set()
        for name, norm in zip(names, norms.tolist(), strict=True):
            ours = translate(str(name))
            if ours is None:
                continue
            gradient = parameters[ours].grad
            if norm < 0:
                assert gradient is None or not gradient.any(), f"{name}: no gradient expected"
                continue
            checked.add(ours)
            noise = ours.endswith(("k_proj.bias", "norm_k.bias"))
            tolerance = 1e-3 if noise else max(1e-4 * norm, 1e-6)
            got = 0.0 if gradient is None else gradient.norm().item()
            assert abs(got - norm) <= tolerance, f"{name}: gradient norm {got}, expected {norm}"
        having = {n for n, p in parameters.items() if p.grad is not None and p.grad.any()}
        assert checked and not having - checked, "these gradients are not compared"

    return check
