"""Numbers of frames, and a front end with another window and shift in the whole model."""

import pytest
import torch
from torch import nn

from speechlm.conventions import PAPER_FRAMING, Framing
from speechlm.models.front_end import FrontEnd

COARSE = Framing(560, 640)


class Windows(FrontEnd):
    """A linear map of each window: 25 frames a second, none of the convolutions' names."""

    def __init__(self):
        super().__init__(16, COARSE)
        self.map = nn.Linear(COARSE.window, 16)

    def forward(self, waveforms, sample_lengths=None):
        return self.map(waveforms.unfold(-1, COARSE.window, COARSE.shift))


@pytest.fixture
def coarse_model(small_model):
    """Function: changes -> the small model with this front end in place of its own."""

    def build(**changes):
        model = small_model(**changes)
        model.feature_extractor = Windows()
        return model

    return build


@pytest.mark.parametrize("samples, frames", [(399, 0), (400, 1), (719, 1), (720, 2), (160000, 499)])
def test_frames_of_the_paper(samples, frames):
    assert PAPER_FRAMING.frames(samples) == frames
    assert PAPER_FRAMING.frames(torch.tensor([samples, 0])).tolist() == [frames, 0]


def test_samples_are_the_fewest():
    for framing in (PAPER_FRAMING, COARSE):
        for frames in (1, 2, 17):
            assert framing.frames(framing.samples(frames)) == frames
            assert framing.frames(framing.samples(frames) - 1) == frames - 1


@pytest.mark.parametrize("layers", [[(7, 4), (5, 2), (2, 4), (1, 5)], [(2, 9)]])
def test_framing_of_convolutions(layers):
    framing = Framing.of_convolutions(layers)
    for samples in range(1, 400):
        expected = samples
        for kernel, stride in layers:
            expected = (expected - kernel) // stride + 1
        assert framing.frames(samples) == max(0, expected)


def test_rates():
    assert (PAPER_FRAMING.rate, PAPER_FRAMING.seconds, COARSE.rate, COARSE.seconds) == (
        50,
        0.02,
        25,
        0.04,
    )
    assert [PAPER_FRAMING.labels_per_frame(rate) for rate in (50, 100)] == [1, 2]
    assert [COARSE.labels_per_frame(rate) for rate in (25, 50, 100)] == [1, 2, 4]
    with pytest.raises(ValueError, match=r"multiple of the frame rate \(25 Hz\), got 40"):
        COARSE.labels_per_frame(40)


@pytest.mark.parametrize("ignore_padding", [False, True])
def test_another_front_end_learns_with_four_labels_a_frame(coarse_model, batch, ignore_padding):
    model = coarse_model(ignore_padding=ignore_padding).train()
    speech = model.forward_speech(batch["waveforms"], batch["sample_lengths"], batch["labels"])
    frames = COARSE.frames(24000)
    assert speech.targets.shape == (3, frames) and frames == 37
    picked = [batch["labels"][:, offset::4][:, :frames] for offset in range(4)]
    assert sum(torch.equal(speech.targets, labels) for labels in picked) == 1
    loss, _, _ = model(**batch)
    loss.backward()
    assert model.feature_extractor.map.weight.grad.abs().sum() > 0


def test_another_front_end_in_a_padded_batch(coarse_model, batch):
    model = coarse_model(ignore_padding=True)
    features, frames = model.extract_features(batch["waveforms"], batch["sample_lengths"])
    assert frames.tolist() == COARSE.frames(batch["sample_lengths"]).tolist() == [37, 25, 14]
    for row, samples in enumerate(batch["sample_lengths"].tolist()):
        alone, _ = model.extract_features(batch["waveforms"][row : row + 1, :samples])
        assert alone.shape == (1, frames[row], 32)
        torch.testing.assert_close(features[row : row + 1, : frames[row]], alone)


def test_what_another_front_end_cannot_take_is_said_in_its_numbers(coarse_model):
    model = coarse_model()
    with pytest.raises(ValueError, match=r"559 samples are shorter than one frame \(560\)"):
        model.encode(torch.zeros(1, 559))
    with pytest.raises(ValueError, match=r"from 560 \(one frame\) to 2000"):
        model.extract_features(torch.zeros(2, 2000), [2000, 559])


PARTS = Framing(880, 640, parts=2)


def test_parts_of_frames():
    """Two outputs a frame: counted, and timed, as if they were frames."""
    assert (PARTS.seconds, PARTS.rate) == (0.02, 50)
    assert [PARTS.frames(n) for n in (0, 879, 880, 1519, 1520)] == [0, 0, 2, 2, 4]
    assert PARTS.frames(torch.tensor([879, 1520])).tolist() == [0, 4]
    assert [PARTS.labels_per_frame(rate) for rate in (50, 100)] == [1, 2]
    with pytest.raises(ValueError, match=r"multiple of the frame rate \(50 Hz\), got 25"):
        PARTS.labels_per_frame(25)


def test_samples_are_the_fewest_that_give_so_many_parts():
    for parts in range(1, 12):
        samples = PARTS.samples(parts)
        assert PARTS.frames(samples) >= parts > PARTS.frames(samples - 1)
