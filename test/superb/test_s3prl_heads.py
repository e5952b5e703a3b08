"""Heads give what those of s3prl 0.4.18 give with the same weights (make_s3prl_heads.py)."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from speechlm.superb import heads

SPEC = importlib.util.spec_from_file_location(
    "make_s3prl_heads", Path(__file__).with_name("make_s3prl_heads.py")
)
make = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(make)
DIM, OUTPUTS = make.DIM, make.OUTPUTS
LINEAR = {"hidden": "hidden_layers.0", "final": "final_proj"}
LSTM = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


@pytest.fixture(scope="module")
def given():
    """What s3prl's heads gave."""
    with np.load(Path(__file__).with_name("s3prl_heads.npz")) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays}


def filled(head, names):
    """A head with the weights that s3prl's had; `names` maps ours to theirs, whole or by module."""
    theirs = {}
    for name in head.state_dict():
        module, _, kind = name.rpartition(".")
        theirs[name] = names.get(name) or f"{names[module]}.{kind}"
    shapes = {theirs[n]: tuple(w.shape) for n, w in head.state_dict().items()}
    for name, weight in head.state_dict().items():
        if weight.ndim == 3:  # a convolution (E, D, context) is a layer (E, context D) with s3prl
            shapes[theirs[name]] = (weight.shape[0], weight.shape[1] * weight.shape[2])
    values = make.drawn(shapes)
    state = {}
    for name, weight in head.state_dict().items():
        value = values[theirs[name]]
        if weight.ndim == 3:
            value = value.view(weight.shape[0], weight.shape[2], -1).permute(0, 2, 1)
        state[name] = value
    head.load_state_dict(state)
    return head.eval()


def same(found, expected, lengths=None):
    """Whether all valid values agree."""
    for row in range(len(found)):
        n = None if lengths is None else int(lengths[row])
        assert torch.allclose(found[row, :n], expected[row, :n], rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_linear_heads(given):
    x, lengths = make.features()
    same(filled(heads.FrameLinear(DIM, OUTPUTS, 256), LINEAR)(x, lengths), given["frame"], lengths)
    same(filled(heads.MeanPoolLinear(DIM, OUTPUTS, 256), LINEAR)(x, lengths), given["mean"])


@torch.no_grad()
def test_recurrent_head(given):
    x, lengths = make.features()
    names = {"project": "proj", "final": "linear"}
    for layer in (0, 1):
        for kind in LSTM:
            names[f"ahead.{layer}.{kind}"] = f"rnns.{layer}.layer.{kind}"
            names[f"back.{layer}.{kind}"] = f"rnns.{layer}.layer.{kind}_reverse"
    found = filled(heads.Recurrent(DIM, OUTPUTS, 8), names)(x, lengths)
    same(found, given["recurrent"], lengths)


@torch.no_grad()
def test_x_vector_and_its_loss(given):
    x, lengths = make.features()
    names = {"project": "projector", "first": "affine.linear1", "second": "affine.linear2"}
    names |= {f"delays.{n}": f"tdnns.module.{n}.kernel" for n in range(5)}
    head = filled(heads.XVector(DIM, 512, 1500), names)
    same(head(x, lengths), given["xvector"])
    same(head.train()(x, lengths), given["trained"])
    loss = filled(heads.AdditiveMargin(512, 4), {"centres": "W"})
    found = loss(given["xvector"], torch.tensor([0, 3, 1]))
    assert found.item() == pytest.approx(given["margin"].item(), rel=1e-6)


@torch.no_grad()
def test_diarizer(given):
    x, lengths = make.features()
    found = filled(heads.Diarizer(DIM, 512), {"rnn": "rnn", "final": "linear"})(x, lengths)
    same(found, given["diarizer"])
