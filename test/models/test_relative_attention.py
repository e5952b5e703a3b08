import os

import pytest
import torch

from speechlm.models.relative_attention import (
    RelativeSelfAttention,
    gathered_bias,
    plain_relative_attention,
    relative_attention,
    relative_bias,
)


def tensors(frames, clip, seed=0):
    """q, k, v (2, 3, T, 8) and a table (2 * clip, 8), float64, requiring gradients."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()

    return [draw(2, 3, frames, 8) for _ in range(3)] + [draw(2 * clip, 8)]


def attention_by_definition(query, key, value, table, padding):
    """Written out with the (T, T, d) tensor of relative keys."""
    frames, clip = query.shape[2], table.shape[0] // 2
    position = torch.arange(frames)
    index = (position[:, None] - position).clamp(-clip, clip - 1) + clip
    query = query * query.shape[3] ** -0.5
    scores = query @ key.transpose(2, 3) + torch.einsum("bhid,ijd->bhij", query, table[index])
    if padding is not None:
        scores = scores.masked_fill(padding[:, None, None], float("-inf"))
    return scores.softmax(-1) @ value


@pytest.mark.parametrize("frames, clip", [(1, 4), (3, 4), (4, 4), (5, 4), (9, 4), (40, 4), (6, 1)])
@pytest.mark.parametrize("spread", [relative_bias, gathered_bias])
def test_bias_clips_the_distance(spread, frames, clip):
    scores = torch.arange(frames * 2 * clip).view(1, 1, frames, 2 * clip)
    bias = spread(scores, frames)[0]
    for i in range(frames):
        for j in range(frames):
            row = min(max(i - j, -clip), clip - 1) + clip
            assert bias[0, i, j] == scores[0, 0, i, row]


@pytest.mark.parametrize(
    "frames, clip", [(1, 4), (7, 4), (127, 160), (129, 16), (200, 160), (300, 40), (330, 160)]
)
@pytest.mark.parametrize("padded", [False, True])
def test_blocked_attention_equals_the_definition(frames, clip, padded):
    query, key, value, table = inputs = tensors(frames, clip)
    padding = None
    if padded:
        padding = torch.zeros(2, frames, dtype=torch.bool)
        padding[1, max(1, frames // 2) :] = True
    expected = attention_by_definition(query, key, value, table, padding)
    got = relative_attention(query, key, value, table, padding, 0.0)
    torch.testing.assert_close(got, expected, atol=2e-6, rtol=1e-5)

    weight = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad((got * weight).sum(), inputs),
        torch.autograd.grad((expected * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1",
    reason="kernels in Triton: needs triton, and TRITON_INTERPRET=1 where there is no GPU",
)
@pytest.mark.parametrize("frames, clip", [(1, 4), (7, 4), (40, 16)])
@pytest.mark.parametrize("padded", [False, True])
def test_fused_attention_equals_the_definition(frames, clip, padded):
    query, key, value, table = inputs = tensors(frames, clip)
    padding = torch.zeros(2, frames, dtype=torch.bool) if padded else None
    if padded:
        padding[1, max(1, frames // 2) :] = True
    expected = attention_by_definition(query, key, value, table, padding)
    layer = RelativeSelfAttention(24, 3, 0.0)
    qkv = torch.cat([x.transpose(1, 2).flatten(2) for x in (query, key, value)], -1).float()
    got = layer.attend(qkv, table.float().expand(3, -1, -1), padding, None, 0.0)
    got = got.view(2, frames, 3, 8).transpose(1, 2).double()
    torch.testing.assert_close(got, expected, atol=2e-6, rtol=1e-5)

    weight = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad((got * weight).sum(), inputs),
        torch.autograd.grad((expected * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_plain_attention_equals_the_definition():
    query, key, value, table = tensors(50, 16)
    padding = torch.zeros(2, 50, dtype=torch.bool)
    padding[1, 30:] = True
    expected = attention_by_definition(query, key, value, table, padding)
    got = plain_relative_attention(query * 8**-0.5, key, value, table, padding, 0.0)
    torch.testing.assert_close(got, expected)


def test_attention_dropout_is_unbiased_and_consistent_in_the_backward_pass():
    """v is the identity, so that the output shows the dropped weights themselves."""
    frames = 64
    query, key = torch.randn(1, 1, frames, frames), torch.randn(1, 1, frames, frames)
    value = torch.eye(frames)[None, None].requires_grad_()
    table = torch.randn(8, frames)
    torch.manual_seed(0)
    whole = relative_attention(query, key, value, table, None, 0.0).detach()
    dropped = relative_attention(query, key, value, table, None, 0.25)
    kept = dropped.detach() != 0
    assert 0.70 < kept.float().mean() < 0.80
    torch.testing.assert_close(dropped.detach()[kept], whole[kept] / 0.75, rtol=1e-4, atol=1e-6)
    (gradient,) = torch.autograd.grad(dropped.sum(), value)
    torch.testing.assert_close(gradient[0, 0, :, 0], dropped.detach()[0, 0].sum(0))


def test_dropout_gradients_agree_with_finite_differences():
    query, key, value, table = (x.detach()[..., :3] for x in tensors(5, 2))
    inputs = [x[:1, :1].requires_grad_() for x in (query, key, value)] + [table.requires_grad_()]

    def attend(*inputs):
        torch.manual_seed(3)
        return relative_attention(*inputs, None, 0.3)

    torch.autograd.gradcheck(attend, inputs, nondet_tol=0.0)


def test_padded_keys_have_no_influence():
    query, key, value, table = (x.detach() for x in tensors(20, 4))
    padding = torch.zeros(2, 20, dtype=torch.bool)
    padding[:, 15:] = True
    first = relative_attention(query, key, value, table, padding, 0.0)
    key[:, :, 15:], value[:, :, 15:] = 1e6, float("nan")
    assert torch.equal(first, relative_attention(query, key, value, table, padding, 0.0))
