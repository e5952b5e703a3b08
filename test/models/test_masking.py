import pytest
import torch

from speechlm.models.masking import span_mask


def runs(row):
    """Lengths of the stretches of True in a list of bools."""
    found, current = [], 0
    for value in [*row, False]:
        if value:
            current += 1
        elif current:
            found.append(current)
            current = 0
    return found


@pytest.mark.parametrize("prob, span", [(0.8, 10), (0.4, 5), (0.65, 10)])
def test_rows_have_equal_counts_and_padding_is_free(prob, span):
    lengths = torch.tensor([300, 180, 299, 77])
    for seed in range(30):
        torch.manual_seed(seed)
        mask = span_mask(lengths, 300, prob, span)
        counts = mask.sum(1)
        assert (counts == counts[0]).all() and counts[0] > 0
        for row, length in zip(mask, lengths.tolist(), strict=True):
            assert not row[length:].any()


def test_share_of_masked_frames_is_hubert_s():
    """80 % in spans of 10 leaves 1 - (1 - 1/L')^n of about 55 % after overlaps (one row)."""
    torch.manual_seed(0)
    lengths = torch.tensor([500])
    share = torch.stack([span_mask(lengths, 500, 0.8, 10) for _ in range(200)]).float().mean()
    expected = 1 - (1 - 10 / 490) ** 40.5  # starts fall in [0, 490)
    assert abs(share.item() - expected) < 0.01


def test_a_single_row_is_made_of_whole_spans():
    torch.manual_seed(3)
    for _ in range(50):
        mask = span_mask(torch.tensor([200]), 200, 0.3, 10)[0].tolist()
        assert all(length >= 10 for length in runs(mask))


def test_number_of_spans_varies_by_the_fraction():
    """prob * length / span = 2.5: two or three spans of 1 frame, equally often."""
    torch.manual_seed(4)
    counts = [int(span_mask(torch.tensor([25]), 25, 0.1, 1).sum()) for _ in range(400)]
    assert set(counts) == {2, 3} and 140 < counts.count(2) < 260


def test_every_start_is_possible_and_the_last_is_excluded():
    torch.manual_seed(5)
    seen = torch.zeros(40, dtype=torch.bool)
    for _ in range(300):
        seen |= span_mask(torch.tensor([40]), 40, 0.1, 10, min_spans=1)[0]
    assert seen[:39].all() and not seen[39]  # starts are in [0, 30): frame 39 is never reached


@pytest.mark.parametrize("length", [1, 2, 5, 10, 11])
def test_short_rows(length):
    torch.manual_seed(6)
    mask = span_mask(torch.tensor([length, 50]), 50, 0.8, 10)
    assert not mask[0, length:].any()
    assert mask[0].sum() == mask[1].sum()
    assert length < 3 or mask[0].any()


def test_zero_probability_masks_nothing():
    assert not span_mask(torch.tensor([30, 20]), 30, 0.0, 10).any()


def test_minimum_can_be_zero_and_count_shared():
    """Channel masks: one number of spans for the whole batch, none if the share asks for none."""
    torch.manual_seed(7)
    counts = set()
    for _ in range(100):
        rows = torch.full((6,), 24)
        mask = span_mask(rows, 24, 0.02, 1, min_spans=0, same_count=True)
        counts.add(int(mask.sum()))
    assert counts == {0, 6}


def test_repeatable_with_a_seed():
    lengths = torch.tensor([100, 90])
    first = span_mask(lengths, 100, 0.8, 10, generator=torch.Generator().manual_seed(1))
    again = span_mask(lengths, 100, 0.8, 10, generator=torch.Generator().manual_seed(1))
    other = span_mask(lengths, 100, 0.8, 10, generator=torch.Generator().manual_seed(2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_batches_put_together_are_masked_as_if_they_were_apart():
    """A row loses frames to the row with the fewest: of 20 rows more than of 5."""
    torch.manual_seed(0)
    lengths = torch.full((20,), 546)
    draws = [span_mask(lengths, 546, 0.8, 10, groups=4) for _ in range(60)]
    parts = [part for mask in draws for part in mask.sum(1).tensor_split(4)]
    assert all(len(part) == 5 and len(part.unique()) == 1 for part in parts)
    assert any(len(mask.sum(1).unique()) > 1 for mask in draws)
    apart = [span_mask(lengths[:5], 546, 0.8, 10) for _ in range(240)]
    together, alone = (torch.cat(masks).float().mean().item() for masks in (draws, apart))
    one = torch.cat([span_mask(lengths, 546, 0.8, 10) for _ in range(60)]).float().mean().item()
    assert together == pytest.approx(alone, abs=0.005) and together > one + 0.01


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_fewer_rows_than_batches_put_together(rows):
    mask = span_mask(torch.tensor([50, 90, 70])[:rows], 90, 0.8, 10, groups=4)
    assert mask.shape == (rows, 90) and mask.any(1).all()
