"""Heads against plain definitions, and what padding may not change."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from speechlm.superb import heads

B, T, D = 3, 40, 6


@pytest.fixture
def batch():
    """Features (B, T, D) with padding of another value than zero, and lengths."""
    torch.manual_seed(0)
    return torch.randn(B, T, D), torch.tensor([T, 31, 20])


HEADS = {
    "frame": lambda: heads.FrameLinear(D, 5, 8),
    "mean": lambda: heads.MeanPoolLinear(D, 5, 8),
    "recurrent": lambda: heads.Recurrent(D, 5, 8),
    "xvector": lambda: heads.XVector(D, 8, 12),
    "diarizer": lambda: heads.Diarizer(D, 8),
}


@pytest.mark.parametrize("make", HEADS.values(), ids=HEADS)
def test_padding_changes_nothing(make, batch):
    torch.manual_seed(1)
    head, (x, lengths) = make().eval(), batch
    together = head(x, lengths)
    for row, n in enumerate(lengths.tolist()):
        alone = head(x[row : row + 1, :n], lengths[row : row + 1])[0]
        found = together[row, :n] if together.ndim == 3 else together[row]
        assert torch.allclose(found, alone, atol=1e-6)


def test_weighted_sum_begins_as_the_mean_and_is_a_softmax():
    layers = torch.randn(2, 7, 4, D)
    weigh = heads.WeightedSum(4)
    assert torch.allclose(weigh(layers), layers.mean(2), atol=1e-6)
    with torch.no_grad():
        weigh.scalars.copy_(torch.tensor([0.0, 1.0, 2.0, 50.0]))
    assert torch.allclose(weigh(layers), layers[:, :, 3], atol=1e-5)
    assert weigh.weights().sum().item() == pytest.approx(1.0)


def test_mean_pool_is_linear_mean_linear(batch):
    head, (x, lengths) = heads.MeanPoolLinear(D, 5, 8), batch
    for row, n in enumerate(lengths.tolist()):
        expected = head.final(head.hidden(x[row, :n]).mean(0))
        assert torch.allclose(head(x, lengths)[row], expected, atol=1e-6)


def test_recurrent_is_that_of_bidirectional_lstm(batch):
    head, (x, lengths) = heads.Recurrent(D, 5, 8).eval(), batch
    for row, n in enumerate(lengths.tolist()):
        expected = head.project(x[row : row + 1, :n])
        for ahead, back in zip(head.ahead, head.back, strict=True):
            both = torch.nn.LSTM(ahead.input_size, 8, batch_first=True, bidirectional=True)
            weights = {**ahead.state_dict()}
            weights |= {f"{name}_reverse": w for name, w in back.state_dict().items()}
            both.load_state_dict(weights)
            expected = both(expected)[0]
        expected = head.final(expected)[0]
        assert torch.allclose(head(x, lengths)[row, :n], expected, atol=1e-6)


def time_delay(x, weight, bias, context, dilation):
    """A layer on the frames t, t + dilation, ... side by side: (T, D) -> (T', E)."""
    count = len(x) - (context - 1) * dilation
    rows = [torch.cat([x[t + k * dilation] for k in range(context)]) for t in range(count)]
    return F.relu(torch.stack(rows) @ weight.T + bias)


def test_x_vector_is_that_of_time_delay_layers(batch):
    head, (x, lengths) = heads.XVector(D, 8, 12).eval(), batch
    n = int(lengths[1])
    frames = head.project(x[1, :n])
    for delay, (context, dilation) in zip(
        head.delays, ((5, 1), (3, 2), (3, 3), (1, 1), (1, 1)), strict=True
    ):
        # (E, D, context) of a convolution -> (E, context D) of a layer on frames side by side
        weight = delay.weight.permute(0, 2, 1).flatten(1)
        frames = time_delay(frames, weight, delay.bias, context, dilation)
    assert len(frames) == n - heads.CONTEXT + 1
    pooled = torch.cat([frames.mean(0), frames.std(0)])
    expected = F.relu(head.first(pooled))
    assert torch.allclose(head(x, lengths)[1], expected, atol=1e-5)
    head.train()
    trained = F.relu(head.second(expected))
    assert torch.allclose(head(x, lengths)[1], trained, atol=1e-5)


def test_one_frame_of_an_x_vector_has_a_gradient():
    head = heads.XVector(D, 8, 12)
    head(torch.randn(2, heads.CONTEXT, D), torch.tensor([heads.CONTEXT] * 2)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters())


def test_margin_is_taken_from_the_right_speaker_alone():
    loss = heads.AdditiveMargin(4, 3)
    embeddings, labels = torch.randn(2, 4), torch.tensor([2, 0])
    expected = []
    for e, label in zip(embeddings, labels.tolist(), strict=True):
        cosines = [F.cosine_similarity(e, c, 0) for c in loss.centres.T]
        scores = torch.stack([30 * (c - 0.4 * (i == label)) for i, c in enumerate(cosines)])
        expected.append(scores.logsumexp(0) - scores[label])
    assert torch.allclose(loss(embeddings, labels), torch.stack(expected).mean(), atol=1e-5)


def test_diarization_loss_does_not_depend_on_the_order_of_speakers():
    torch.manual_seed(2)
    logits, activity = torch.randn(2, 9, 2), (torch.rand(2, 9, 2) > 0.5).float()
    lengths = torch.tensor([9, 5])
    swapped = activity.clone()
    swapped[1] = activity[1].flip(1)
    loss = heads.permutation_free(logits, activity, lengths)
    assert torch.allclose(loss, heads.permutation_free(logits, swapped, lengths))
    each = []
    for row, n in enumerate(lengths.tolist()):
        orders = (activity[row, :n], activity[row, :n].flip(1))
        each.append(
            min(F.binary_cross_entropy_with_logits(logits[row, :n], o).item() for o in orders)
        )
    assert loss.item() == pytest.approx(np.mean(each), abs=1e-6)
