"""Fused kernels of layers against the definition, in Triton's interpreter on a CPU.

test_fused_layers runs this file in a process of its own, as TRITON_INTERPRET=1 has to be there when
triton is imported.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from interpreted_attention import philox

from speechlm import kernels
from speechlm.kernels.cast_weights import cast_once
from speechlm.kernels.gpu_layers import add_norm, bias_gelu, linear_beside
from speechlm.kernels.gpu_rotary import turned
from speechlm.models import SpeechLM, SpeechLMConfig, transformer
from speechlm.models.rotary import rotate, rotations

SEED = 2**60 + 99
EPSILON = 1e-5
SIZES = [(1, 8), (3, 17), (9, 64), (5, 300)]
"""Rows and numbers a row: one row, widths that are no power of two, several blocks."""


def mask_of(rows, width, dropout):
    """(rows, width) zeros and 1 / (1 - p): the twin of the kernels' generator."""
    fourth = np.arange(-(-width // 4))
    words = philox(SEED, fourth, np.arange(rows)[:, None], 0, 0).reshape(rows, -1)[:, :width]
    kept = torch.from_numpy(words >> np.uint64(8) >= round(dropout * 2**24))
    return kept.double() / (1 - dropout)


def draw(*shapes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=generator).to(dtype).requires_grad_() for s in shapes]


def compare(ours, theirs, inputs, tolerance):
    """Values and gradients, with the largest number as the measure."""
    generator = torch.Generator().manual_seed(2)
    weights = [torch.randn(x.shape, generator=generator, dtype=torch.float64) for x in theirs]
    gradients = [
        torch.autograd.grad(sum((x * w).sum() for x, w in zip(found, weights, strict=True)), inputs)
        for found in (ours, theirs)
    ]
    pairs = zip([*ours, *gradients[0]], [*theirs, *gradients[1]], strict=True)
    for number, (our, their) in enumerate(pairs):
        off = (our.detach().double() - their.detach().double()).abs().max()
        assert off < tolerance * their.detach().abs().max().clamp(1.0), number


@pytest.mark.parametrize("rows, width", SIZES)
@pytest.mark.parametrize("dropout", [0.0, 0.25])
@pytest.mark.parametrize("case", ["both", "sum", "norm", "unbiased", "alone"])
def test_residual_dropout_and_norm(case, rows, width, dropout):
    branch, bias, x, weight, shift = draw((1, rows, width), width, (1, rows, width), width, width)
    norm = None if case == "sum" else (weight, shift)
    branch = None if case == "alone" else branch
    bias = None if case in ("alone", "unbiased") else bias
    seed = torch.tensor([SEED]) if dropout else None
    got = add_norm(branch, bias, x, norm, seed, dropout)

    mask = mask_of(rows, width, dropout) if dropout else 1.0
    added = 0.0 if branch is None else (branch.double() + (0.0 if bias is None else bias)) * mask
    total = x.double() + added
    expected = [total]
    if norm is not None:
        expected.append(F.layer_norm(total, (width,), weight.double(), shift.double(), EPSILON))
    got = list(got[: len(expected)])
    if case == "norm":  # as in post-norm layers, which go on with the norm alone
        got, expected = got[1:], expected[1:]
    inputs = [i for i in (branch, bias, x, *(norm or ())) if i is not None]
    compare(got, expected, inputs, 1e-5)


@pytest.mark.parametrize("rows, width", SIZES)
@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_bias_gelu_and_dropout(rows, width, dropout):
    x, bias = draw((1, rows, width), width)
    got = bias_gelu(x, bias, torch.tensor([SEED]) if dropout else None, dropout)
    mask = mask_of(rows, width, dropout) if dropout else 1.0
    compare([got], [F.gelu(x.double() + bias) * mask], [x, bias], 1e-5)


def test_bfloat16():
    branch, bias, x, weight, shift = draw((9, 64), 64, (9, 64), 64, 64, dtype=torch.bfloat16)
    total = x.double() + branch.double() + bias.double()
    expected = F.layer_norm(total, (64,), weight.double(), shift.double())
    got = add_norm(branch, bias, x, (weight, shift), None, 0.0)
    assert {y.dtype for y in got} == {torch.bfloat16}
    compare(got, [total, expected], [branch, bias, x, weight, shift], 2e-2)
    compare([bias_gelu(x, bias, None, 0.0)], [F.gelu(x.double() + bias)], [x, bias], 2e-2)


def test_everything_may_be_dropped():
    branch, x = draw((3, 16), (3, 16))
    total, _ = add_norm(branch, None, x, None, torch.tensor([SEED]), 1.0)
    assert torch.equal(total, x) and not torch.autograd.grad(total.sum(), branch)[0].any()


def test_more_rows_than_programs():
    """Each program sums a share of the rows; the last share is shorter."""
    rows = 132 * 4 + 3
    branch, bias, x, weight, shift = draw((rows, 600), 600, (rows, 600), 600, 600)
    total = x.double() + branch + bias
    expected = F.layer_norm(total, (600,), weight.double(), shift.double())
    got = add_norm(branch, bias, x, (weight, shift), None, 0.0)
    compare(got, [total, expected], [branch, bias, x, weight, shift], 1e-5)


def test_the_gradient_of_what_goes_on_beside_is_summed():
    x, weight, bias = draw((2, 5, 8), (6, 8), 6)
    y, beside = linear_beside(x, weight, bias)
    compare([y, beside * 2], [F.linear(x, weight, bias), x * 2], [x, weight, bias], 1e-5)


@pytest.mark.parametrize("heads, width", [(1, 2), (3, 10), (4, 64)])
def test_rotary_positions(heads, width):
    (qkv,) = draw((2, 5, 3, heads, width))
    turns = rotations(qkv.flatten(2), width)
    cosines, sines = (turn.double()[:, None, None] for turn in turns)
    query, key = rotate(qkv[:, :, :2].double(), cosines, sines).permute(2, 0, 3, 1, 4)
    expected = [query, key, qkv[:, :, 2].transpose(1, 2).double()]
    compare(turned(qkv, *turns), expected, [qkv], 1e-5)


OFF = {"dropout": 0.0, "attention_dropout": 0.0, "ctc_dropout": 0.0, "label_rate": 50}
OFF |= {"speech_layerdrop": 0.0, "shared_layerdrop": 0.0, "speech_layers": 1, "shared_layers": 1}
MODELS = {
    "base": ("tiny", {"input_dropout": 0.0, "relative_clip": 8, "pre_norm": False}),
    "large": ("tiny", {"input_dropout": 0.0, "relative_clip": 8, "pre_norm": True}),
    "fast": ("fast_tiny", {}),
    "no convolutions": ("fast_tiny", {"depthwise_kernel": 1}),
}


def step(model, dtype=None):
    """Loss and gradients of a step whose text is padded."""
    torch.manual_seed(2)
    waveforms, labels = torch.randn(2, 2800), torch.randint(4, 19, (2, 8))
    units, characters = torch.randint(4, 19, (2, 9)), torch.randint(4, 12, (2, 3))
    units[1, 7:] = 1
    model.zero_grad()
    with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        loss, _, _ = model(waveforms, torch.tensor([2800, 2500]), labels, units, characters)
    loss.backward()
    return loss.item(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def build(size, **changes):
    torch.manual_seed(0)
    name, options = MODELS[size]
    config = getattr(SpeechLMConfig, name)(**{**OFF, **options, **changes})
    return SpeechLM(config, 20, 12).train()


def flat(gradients):
    return torch.cat([g.flatten() for g in gradients.values()])


@pytest.mark.parametrize("size", MODELS)
def test_a_step_is_that_of_the_plain_layers(size):
    model = build(size)
    exact, expected = step(model)
    with kernels.triton():
        loss, gradients = step(model)
        low, low_gradients = step(model, torch.bfloat16)
    assert gradients.keys() == expected.keys() == low_gradients.keys()
    assert abs(loss - exact) < 1e-5 * exact and abs(low - exact) < 5e-3 * exact
    norm = flat(expected).norm()
    for name, gradient in gradients.items():
        assert (gradient - expected[name]).norm() < 1e-5 * norm, name
    assert (flat(low_gradients) - flat(expected)).norm() < 0.03 * norm


@pytest.mark.parametrize("size", ["base", "fast"])
def test_a_step_with_dropout_can_be_repeated(size):
    rates = {"dropout": 0.2, "activation_dropout": 0.2, "attention_dropout": 0.2}
    model = build(size, **rates)
    with kernels.triton():
        (first, gradients), (again, same) = step(model), step(model)
        model.eval()
        assert step(model)[0] != first
    assert first == again and all(torch.equal(same[name], g) for name, g in gradients.items())


def test_every_place_drops_by_a_seed_of_its_own(monkeypatch):
    used = []
    real = transformer.FusedPass.drop

    def spy(self, rate):
        seed, rate = real(self, rate)
        used.append((seed.item(), rate))
        return seed, rate

    monkeypatch.setattr(transformer.FusedPass, "drop", spy)
    rates = {"dropout": 0.2, "activation_dropout": 0.3, "attention_dropout": 0.4}
    model = build("fast", **rates)
    with kernels.triton(), cast_once(1):
        step(model)
    assert [rate for _, rate in used] == [0.2, 0.4, 0.2, 0.3, 0.2] * 3
    assert len({seed for seed, _ in used}) == len(used)
