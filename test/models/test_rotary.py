"""Rotary positions, and the attention that has no other."""

import math

import pytest
import torch

from speechlm.models.rotary import BASE, RotarySelfAttention, rotate, rotations


def turns(frames, width, dtype=torch.float64):
    return rotations(torch.empty(1, frames, 1, dtype=dtype), width)


def test_angles_are_those_of_the_definition():
    cosines, sines = turns(50, 8)
    assert cosines.shape == sines.shape == (50, 8)
    assert torch.equal(cosines[:, :4], cosines[:, 4:]) and torch.equal(sines[:, :4], -sines[:, 4:])
    for frame in (0, 1, 49):
        for pair in range(4):
            angle = frame / BASE ** (2 * pair / 8)
            assert cosines[frame, pair] == pytest.approx(math.cos(angle), abs=1e-5)
            assert sines[frame, 4 + pair] == pytest.approx(math.sin(angle), abs=1e-5)


def test_products_depend_on_the_distance_alone():
    torch.manual_seed(0)
    query, key = torch.randn(2, 16, dtype=torch.float64)
    frames = 400
    every = torch.ones(1, 1, frames, 1, dtype=torch.float64)
    cosines, sines = turns(frames, 16)
    products = rotate(every * query, cosines, sines) @ rotate(every * key, cosines, sines).mT
    for distance in (-300, -7, -1, 0, 1, 7, 300):
        diagonal = products[0, 0].diagonal(distance)
        # Angles are float32, so that far positions differ in the fifth place.
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-3, rtol=0)
    assert (products[0, 0, 0, 1:20] - products[0, 0, 0, 0]).abs().min() > 1e-3
    assert (products[0, 0, 5, 4] - products[0, 0, 4, 5]).abs() > 1e-3  # before is not after


def test_turning_keeps_lengths_and_the_first_frame():
    x = torch.randn(2, 3, 7, 10, dtype=torch.float64)
    turned = rotate(x, *turns(7, 10))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(turned[:, :, 0], x[:, :, 0])


def loop(attention, x, valid):
    """The definition, number by number: (T, D) -> (T, D), of which the first `valid` are seen."""
    frames, dim = x.shape
    width = dim // attention.heads
    projected = attention.qkv_proj(x).view(frames, 3, attention.heads, width)
    rows = []
    for t in range(frames):
        heads = []
        for head in range(attention.heads):
            scores = []
            for s in range(valid):
                q, k = projected[t, 0, head], projected[s, 1, head]
                score = 0.0
                for i in range(width // 2):
                    a, b = q[i], q[i + width // 2]
                    c, d = k[i], k[i + width // 2]
                    # The pair as a complex number: the real part of q conj(k) e^(i angle)
                    angle = (t - s) / BASE ** (2 * i / width)
                    real, imaginary = a * c + b * d, b * c - a * d
                    score = score + real * math.cos(angle) - imaginary * math.sin(angle)
                scores.append(score / math.sqrt(width))
            weights = torch.stack(scores).softmax(0)
            heads.append(weights @ projected[:valid, 2, head])
        rows.append(torch.cat(heads))
    return attention.out_proj(torch.stack(rows))


@pytest.mark.parametrize("valid", [6, 4])
def test_attention_equals_a_plain_loop(valid):
    torch.manual_seed(0)
    attention = RotarySelfAttention(8, 2, 0.0).double()
    x = torch.randn(1, 6, 8, dtype=torch.float64)
    padding = None if valid == 6 else (torch.arange(6) >= valid)[None]
    found = attention(x, turns(6, 4), padding)
    torch.testing.assert_close(found[0], loop(attention, x[0], valid), atol=1e-6, rtol=1e-5)


def test_padding_is_not_seen():
    torch.manual_seed(0)
    attention = RotarySelfAttention(16, 4, 0.0).double()
    x = torch.randn(2, 12, 16, dtype=torch.float64)
    padding = torch.zeros(2, 12, dtype=torch.bool)
    padding[1, 7:] = True
    other = x.clone()
    other[1, 7:] = 1e3
    found = attention(x, turns(12, 4), padding)
    torch.testing.assert_close(attention(other, turns(12, 4), padding)[1, :7], found[1, :7])
    torch.testing.assert_close(attention(x[1:, :7], turns(7, 4), None)[0], found[1, :7])
    torch.testing.assert_close(attention(x[:1], turns(12, 4), None)[0], found[0])


def test_a_row_of_padding_alone_is_finite():
    attention = RotarySelfAttention(16, 4, 0.0)
    x = torch.randn(2, 5, 16, requires_grad=True)
    padding = torch.tensor([[False] * 5, [True] * 5])
    found = attention(x, turns(5, 4, torch.float32), padding)
    found.sum().backward()
    assert torch.isfinite(found).all() and torch.isfinite(x.grad).all()


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    attention = RotarySelfAttention(16, 4, 0.5)
    x, at = torch.randn(1, 9, 16), turns(9, 4, torch.float32)
    assert not torch.equal(attention.train()(x, at, None), attention(x, at, None))
    assert torch.equal(attention.eval()(x, at, None), attention(x, at, None))
