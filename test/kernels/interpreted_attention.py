"""The kernels of relative attention against the definition, in Triton's interpreter on a CPU.

test_gpu_attention runs this file in a process of its own, as TRITON_INTERPRET=1 has to be there
when triton is imported. All that a GPU adds to it is how the compiler takes the same program.
"""

import numpy as np
import pytest
import torch

from speechlm.kernels import triton_attention
from speechlm.kernels.gpu_attention import gpu_relative_attention, relative_attention

BATCH, HEADS = 2, 2


def draw(frames, positions, width=64, dtype=torch.float32):
    """q, k, v (B, H, T, d) and a table (R, d), requiring gradients."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(BATCH, HEADS, frames, width)] * 3 + [(positions, width)]
    made = [torch.randn(shape, generator=generator) for shape in shapes]
    dtypes = [dtype] * 3 + [torch.float32]
    return [x.to(t).requires_grad_() for x, t in zip(made, dtypes, strict=True)]


def attend(query, key, value, table, padding, dropout, seed=None):
    """The kernels' attention of q, k, v (B, H, T, d)."""
    qkv = torch.stack((query, key, value), 0).permute(1, 3, 0, 2, 4).contiguous()
    tables = table.to(query.dtype).expand(HEADS, -1, -1)
    seed = None if seed is None else torch.tensor([seed])
    return gpu_relative_attention(qkv, tables, padding, seed, dropout).transpose(1, 2)


def padding_of(*lengths, frames):
    """(B, T) bool: True from each row's length on."""
    return torch.arange(frames) >= torch.tensor(lengths)[:, None]


def philox(seed, *counter):
    """Four words of Philox-4x32 with seven rounds for each counter, arrays of four parts."""
    c = [np.asarray(part, np.uint64) for part in np.broadcast_arrays(*counter)]
    word, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    key = [np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32)]
    for _ in range(7):
        first, second = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [second >> half ^ c[1] ^ key[0], second & word, first >> half ^ c[3] ^ key[1]]
        c.append(first & word)
        key = [(key[0] + np.uint64(0x9E3779B9)) & word, (key[1] + np.uint64(0xBB67AE85)) & word]
    return np.stack(c, -1)


def keep_mask(seed, frames, dropout):
    """(B, H, T, T) zeros and 1 / (1 - p): the twin of the kernels' generator."""
    pair = np.arange(BATCH * HEADS)[:, None, None]
    query, fourth = np.arange(frames)[:, None], np.arange(-(-frames // 4))
    words = philox(seed, fourth, query, pair, 0).reshape(BATCH, HEADS, frames, -1)[..., :frames]
    kept = torch.from_numpy(words >> np.uint64(8) >= round(dropout * 2**24))
    return kept.double() / (1 - dropout)


def definition(query, key, value, table, padding, mask):
    """Written out in float64, with the (T, T) index of relative keys."""
    query, key, value, table = (x.double() for x in (query, key, value, table))
    clip, place = table.shape[0] // 2, torch.arange(query.shape[2])
    index = (place[:, None] - place).clamp(-clip, clip - 1) + clip
    relative = (query @ table.T).gather(3, index.expand(*query.shape[:2], -1, -1))
    scores = (query @ key.transpose(2, 3) + relative) * query.shape[3] ** -0.5
    if padding is not None:
        scores = scores.masked_fill(padding[:, None, None], float("-inf"))
    return (scores.softmax(-1) * mask) @ value


def compare(inputs, padding, dropout, atol):
    """Values and gradients of the kernels and of the definition."""
    seed = 2**61 + 12345
    got = attend(*inputs, padding, dropout, seed)
    mask = keep_mask(seed, inputs[0].shape[2], dropout) if dropout else torch.ones(())
    expected = definition(*inputs, padding, mask)
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    ours = torch.autograd.grad((got * weight.to(got.dtype)).sum(), inputs)
    theirs = torch.autograd.grad((expected * weight).sum(), inputs)
    for name, our, their in zip(
        ("out", "q", "k", "v", "table"), (got, *ours), (expected, *theirs), strict=True
    ):
        assert our.isfinite().all(), name
        # The largest value is the measure, as of any sum of many numbers; one key has gradients of
        # zero, where the inputs are: of the size of one.
        off = (our.detach().double() - their.detach()).abs().max()
        error = float(off / their.detach().abs().max().clamp(1.0))
        assert error < atol, (name, error)


CASES = [
    (1, 8, 64, None),  # one frame
    (7, 2, 64, None),  # every distance is clipped
    (8, 320, 64, None),  # none is
    (31, 320, 16, (31, 0)),  # a block less one; a row without keys sees the first
    (32, 8, 64, (5, 32)),
    (65, 40, 64, (33, 64)),  # blocks that nobody sees
    (65, 320, 96, None),  # a head's width that is no power of two
    (130, 16, 8, (130, 70)),  # narrower than a product may be
]


@pytest.mark.parametrize("dropout", [0.0, 0.25])
@pytest.mark.parametrize("frames, positions, width, lengths", CASES)
def test_values_and_gradients(frames, positions, width, lengths, dropout):
    padding = seen = None
    if lengths:
        padding = padding_of(*lengths, frames=frames)
        seen = padding_of(*(max(1, n) for n in lengths), frames=frames)
    inputs = draw(frames, positions, width)
    if lengths and 0 in lengths:  # the definition has no such row
        got = attend(*inputs, padding, dropout, 1)
        assert torch.equal(got, attend(*inputs, seen, dropout, 1))
    compare(inputs, seen, dropout, 1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_bfloat16(dropout):
    compare(draw(70, 40, 96, torch.bfloat16), padding_of(70, 50, frames=70), dropout, 2e-2)


def test_what_is_padded_has_no_influence():
    query, key, value, table = draw(40, 8, 16)
    padding = padding_of(20, 35, frames=40)
    first = attend(query, key, value, table, padding, 0.0)
    hidden = padding[:, None, :, None]
    key, value = (x.detach().masked_fill(hidden, float("nan")) for x in (key, value))
    key.requires_grad_()
    again = attend(query, key, value, table, padding, 0.0)
    assert torch.equal(first, again)
    (gradient,) = torch.autograd.grad(again.sum(), key)
    assert gradient.isfinite().all() and not gradient[hidden.expand_as(gradient)].any()


def test_the_same_seed_drops_the_same_weights():
    """v is the identity, so that the output shows the weights themselves."""
    frames = 32
    query, key, _, table = (x.detach() for x in draw(frames, 8, frames))
    value = torch.eye(frames).expand(BATCH, HEADS, frames, frames)

    def weights(seed, dropout=0.25):
        return attend(query, key, value, table, None, dropout, seed)

    first, other = weights(0), weights(1)
    assert torch.equal(first, weights(0))
    kept = first != 0
    assert 0.72 < kept.float().mean() < 0.78
    torch.testing.assert_close(first[kept], weights(0, 0.0)[kept] / 0.75)
    # Two seeds, rows, heads, queries agree as often as chance has it: 0.75^2 + 0.25^2.
    for a, b in ((first, other), (first[0], first[1]), (first[:, 0], first[:, 1])):
        assert 0.58 < ((a != 0) == (b != 0)).float().mean() < 0.67
    assert 0.58 < (kept[:, :, 1:] == kept[:, :, :-1]).float().mean() < 0.67
    assert not weights(0, 1.0).any()


def test_torch_finds_nothing_wrong_with_the_operation():
    qkv = torch.randn(BATCH, 9, 3, HEADS, 16)
    relative = torch.randn(HEADS, BATCH, 9, 8)
    padding, seed = padding_of(9, 4, frames=9), torch.tensor([3])
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(
        relative_attention, (qkv, relative, padding, seed, 0.1), test_utils=checks
    )


def test_this_is_the_interpreter():
    assert triton_attention.INTERPRETED.value is True
