import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from speechlm.conventions import EOS, PAD
from speechlm.models.ctc_head import CTCHead
from speechlm.models.losses import ctc_fits, ctc_loss, predict_units, unit_logits


def test_logits_are_cosines_over_the_temperature():
    torch.manual_seed(0)
    project, embeddings = nn.Linear(6, 4), torch.randn(5, 4)
    hidden = torch.randn(3, 6)
    logits = unit_logits(hidden, project, embeddings, 0.1)
    expected = F.cosine_similarity(project(hidden)[:, None], embeddings[None], dim=-1) / 0.1
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(unit_logits(hidden, project, embeddings * 7, 0.1), logits)


def test_prediction_sums_and_counts():
    project, embeddings = nn.Linear(4, 4), torch.eye(4)
    nn.init.eye_(project.weight)
    nn.init.zeros_(project.bias)
    hidden = torch.eye(4)[[0, 1, 2]]
    logits = unit_logits(hidden, project, embeddings, 0.1)
    result = predict_units(logits, torch.tensor([0, 1, 3]))
    assert result.correct == 2
    normalizer = math.log(math.exp(10) + 3)
    assert abs(result.loss.item() - (3 * normalizer - 20)) < 1e-4


def test_no_frames_give_zero_loss():
    logits = unit_logits(torch.zeros(0, 4), nn.Linear(4, 4), torch.eye(4), 0.1)
    result = predict_units(logits, torch.zeros(0, dtype=torch.long))
    assert result.loss == 0 and result.correct == 0


def test_ctc_ignores_padding_and_end_of_sentence():
    torch.manual_seed(0)
    logits = torch.randn(2, 8, 6)
    lengths = torch.tensor([7, 5])
    with_eos = ctc_loss(logits, lengths, torch.tensor([[3, 4, 5, 2], [5, 2, 1, 1]]))
    log_probs = logits.log_softmax(-1)
    expected = sum(
        F.ctc_loss(
            log_probs[row, :length, None].squeeze(1),
            torch.tensor(target),
            torch.tensor(length),
            torch.tensor(len(target)),
            reduction="sum",
        )
        for row, length, target in ((0, 7, [3, 4, 5]), (1, 5, [5]))
    )
    torch.testing.assert_close(with_eos, expected)


def test_ctc_target_too_long_for_its_frames_counts_nothing():
    logits = torch.randn(1, 4, 6, requires_grad=True)
    loss = ctc_loss(logits, torch.tensor([2]), torch.tensor([[3, 3, 3, 2]]))
    loss.backward()
    assert loss == 0 and torch.isfinite(logits.grad).all()


def test_what_fits_is_what_ctc_finds_an_alignment_for():
    torch.manual_seed(0)
    characters = torch.randint(3, 5, (200, 5))
    for row, n in enumerate(torch.randint(0, 5, (200,))):
        characters[row, n], characters[row, n + 1 :] = EOS, PAD
    frames = torch.randint(1, 8, (200,))
    targets = (characters > EOS).sum(1)
    log_probs = torch.zeros(8, 200, 6).log_softmax(-1)
    losses = F.ctc_loss(log_probs, characters, frames, targets, reduction="none")
    fits = ctc_fits(frames, characters)
    assert fits.tolist() == losses.isfinite().tolist() and 20 < fits.sum() < 180


def test_a_sentence_that_does_not_fit_is_as_if_it_were_not_there():
    torch.manual_seed(0)
    characters = torch.tensor([[3, 4, 5, 2], [3, 3, 3, 2], [5, 2, 1, 1]])
    lengths = torch.tensor([7, 4, 5])
    logits = torch.randn(3, 8, 6, requires_grad=True)
    loss = ctc_loss(logits, lengths, characters)
    rows = torch.tensor([0, 2])
    alone = ctc_loss(logits[rows], lengths[rows], characters[rows])
    torch.testing.assert_close(loss, alone)
    loss.backward()
    assert torch.isfinite(logits.grad).all() and not logits.grad[1].any() and logits.grad[2].any()


def test_an_infinite_loss_of_a_sentence_that_fits_is_not_hidden():
    logits = torch.zeros(1, 4, 6)
    logits[..., 3] = -float("inf")
    assert ctc_loss(logits, torch.tensor([4]), torch.tensor([[3, 2]])).isinf()


def test_ctc_head_looks_one_frame_back():
    head = CTCHead(8, 5).eval()
    x = torch.randn(1, 6, 8)
    changed = x.clone()
    changed[0, 3] += 1.0
    differs = (head(x) != head(changed)).any(-1)[0]
    assert differs.tolist() == [False, False, False, True, True, False, False]


def test_without_embeddings_the_scores_are_those_of_the_layer():
    torch.manual_seed(0)
    project = nn.Linear(6, 5)
    hidden, targets = torch.randn(3, 6), torch.tensor([0, 4, 2])
    logits = unit_logits(hidden, project, None, 0.1)
    torch.testing.assert_close(logits, project(hidden))
    result = predict_units(logits, targets)
    log_probs = project(hidden).log_softmax(-1)
    torch.testing.assert_close(result.loss, -log_probs[range(3), targets].sum())
    assert result.correct == (log_probs.argmax(-1) == targets).sum()


def test_scores_of_units_are_float32_within_autocast():
    torch.manual_seed(0)
    project, hidden = nn.Linear(64, 5), torch.randn(30, 64)
    exact = unit_logits(hidden, project, None, 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        found = unit_logits(hidden, project, None, 0.1)
        assert unit_logits(hidden.bfloat16(), project, None, 0.1).dtype == torch.float32
    assert found.dtype == torch.float32 and torch.equal(found, exact)


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_which_frames_a_ctc_output_sees(outputs):
    """Outputs t N .. t N + N - 1 see frames t - 1 and t, and each of them in its own way."""
    torch.manual_seed(0)
    head = CTCHead(8, 5, outputs=outputs).eval()
    x = torch.randn(1, 6, 8)
    logits = head(x)
    assert logits.shape == (1, 7 * outputs, 5)
    assert len(set(logits[0, :, 0].tolist())) == 7 * outputs
    for frame in range(6):
        changed = x.clone()
        changed[0, frame] += 1.0
        differs = (logits != head(changed)).any(-1)[0].nonzero()[:, 0].tolist()
        assert differs == list(range(frame * outputs, (frame + 2) * outputs))


def test_ctc_outputs_are_channels_of_the_convolution():
    torch.manual_seed(0)
    head = CTCHead(8, 5, outputs=2).double().eval()
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    convolved = getattr(head, "1")(x.mT).mT  # (B, T + 1, 2 D)
    each = convolved.unflatten(2, (2, 8))
    expected = head.output_layer(F.gelu(getattr(head, "3")["2"](each))).flatten(1, 2)
    torch.testing.assert_close(head(x), expected)
