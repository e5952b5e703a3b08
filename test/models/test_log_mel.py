"""The front end of SpeechLM-Fast, from samples to frames."""

import kaldi_native_fbank as knf
import numpy as np
import pytest
import torch
from torch import nn

from speechlm.conventions import SAMPLE_RATE
from speechlm.models import SpeechLMConfig
from speechlm.models.log_mel import (
    CLICKS,
    FLOOR,
    LOUD,
    QUIET,
    SPREAD,
    LogMel,
    LogMelFrontEnd,
    is_speech,
    mel_triangles,
    stretch_channels,
)


def tones(samples, seed=0):
    """Something like voiced speech (S,): harmonics that rise and come and go, over some noise."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(samples) / SAMPLE_RATE
    pitch = 2 * torch.pi * (110 * time + 40 * time**2)
    voice = sum((n * pitch).sin() / n for n in range(1, 30))
    loud = 0.1 * (20 * time).sin() ** 2
    return loud * voice + 0.003 * torch.randn(samples, generator=generator)


def kaldi_log_mel(waveform, channels):
    """Kaldi's log energies (L, M) of samples on its scale, from -32768 to 32767."""
    options = knf.FbankOptions()
    options.frame_opts.samp_freq = SAMPLE_RATE
    options.frame_opts.dither = 0
    options.frame_opts.window_type = "povey"
    options.frame_opts.preemph_coeff = 0.97
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = channels
    options.mel_opts.low_freq = 20
    options.mel_opts.high_freq = 7600
    options.use_energy = False
    fbank = knf.OnlineFbank(options)
    fbank.accept_waveform(SAMPLE_RATE, (waveform * 32768).tolist())
    fbank.input_finished()
    rows = [fbank.get_frame(row) for row in range(fbank.num_frames_ready)]
    return torch.from_numpy(np.stack(rows))


@pytest.mark.parametrize("channels", [40, 80])
@pytest.mark.parametrize("samples", [560, 1200, 16000, 33333])
def test_energies_are_kaldis(samples, channels):
    """Kaldi's samples are 32768 times ours: 2 ln 32768 more in each channel, gone with the mean."""
    waveform = tones(samples)
    kaldi = kaldi_log_mel(waveform, channels)
    loudness = kaldi.exp().sum(1).log()  # near enough: nothing stands close to the limit
    loud = loudness.sort(descending=True).values[int(CLICKS * len(kaldi))]
    speech = loudness >= loud - LOUD
    expected = ((kaldi - kaldi[speech].mean(0)) / SPREAD).clamp(min=QUIET)
    found = LogMel(channels)(waveform[None], None)[0]
    assert found.dtype == torch.float32 and found.shape == expected.shape
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0.0)
    assert samples < 8000 or expected.std() > 0.5  # not all the same


def test_triangles_share_frequencies():
    triangles = mel_triangles(80)
    assert triangles.shape == (257, 80) and (triangles.sum(0) > 0).all()
    assert triangles.max() <= 1 and not triangles[[0, -1]].any()
    # Each frequency between the outermost centres is shared by two channels, which add up to one.
    inner = (triangles > 0).sum(1) == 2
    torch.testing.assert_close(triangles[inner].sum(1), torch.ones(int(inner.sum())).double())
    assert inner.sum() > 200


@pytest.mark.parametrize("subsampling", [2, 4])
def test_number_of_frames_is_that_of_the_framing(fast_config, subsampling):
    config = fast_config(subsampling=subsampling, mel_channels=4, embed_dim=8)
    front_end = LogMelFrontEnd(config).eval()
    waveform = torch.randn(1, 3000)
    for samples in (*range(800, 1100), *range(1100, 3001, 53)):
        if samples >= config.framing.window:
            found = front_end(waveform[:, :samples]).shape[1]
            assert found == config.framing.frames(samples), samples
        else:
            assert config.framing.frames(samples) == 0
    assert config.framing.window == 400 + (subsampling - 1) * 160


@pytest.mark.parametrize("subsampling", [2, 4])
def test_alone_as_in_a_batch(fast_config, subsampling):
    """Also at lengths whose last log-mel frames, or samples, do not make a whole frame."""
    torch.manual_seed(0)
    config = fast_config(subsampling=subsampling)
    front_end = LogMelFrontEnd(config).eval()
    lengths = [9000, 8999, 880, 1039, 1040, 1041, *range(5000, 5800, 37)]
    waveforms = torch.zeros(len(lengths), max(lengths))
    for row, length in enumerate(lengths):
        waveforms[row, :length] = tones(length, row)
    together = front_end(waveforms, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        alone = front_end(waveforms[row : row + 1, :length])[0]
        assert len(alone) == config.framing.frames(length)
        torch.testing.assert_close(together[row, : len(alone)], alone, atol=1e-5, rtol=1e-5)


def test_rows_longer_than_their_own_samples_do_not_count():
    """What stands in the padding enters neither the mean nor the frames."""
    log_mel = LogMel(20)
    waveforms = tones(8000).repeat(2, 1)
    lengths = torch.tensor([20, 30])
    noisy = waveforms.clone()
    noisy[0, 400 + 19 * 160 :] += torch.randn(8000 - 400 - 19 * 160)
    found = log_mel(noisy, lengths)
    torch.testing.assert_close(found[0, :20], log_mel(waveforms, lengths)[0, :20])
    assert not found[0, 20:].any() and not found[1, 30:].any()


@pytest.mark.parametrize("around", [0.0, 1e-6])
def test_pauses_change_nothing_of_the_speech(around):
    """Digital silence, faint noise or a click beside speech leave its frames as they were."""
    log_mel, speech = LogMel(20), tones(16000)
    alone = log_mel(speech[None], None)[0]
    pause = around * torch.randn(160 * 50)
    pause[4000] = 0.9  # a click
    found = log_mel(torch.cat([pause, speech, pause, pause])[None], None)[0]
    loud = alone[5:-5] > -1.0
    assert loud.float().mean() > 0.5
    torch.testing.assert_close(
        found[55 : 50 + len(alone) - 5][loud], alone[5:-5][loud], atol=0.2, rtol=0
    )
    assert (found[:20] == QUIET).all()


def test_loudness_of_padding_does_not_count():
    loudness = torch.tensor([[0.0, -5.0, -8.0, 50.0], [1.0, 2.0, 3.0, 4.0]])
    valid = torch.tensor([[True, True, True, False], [False] * 4])
    expected = torch.tensor([[True, True, False, False], [True, False, False, False]])
    assert torch.equal(is_speech(loudness, valid), expected)


def test_padding_may_hold_anything():
    wave = torch.randn(1, 4000) * 0.1
    padded = torch.cat([wave, torch.full((1, 2000), torch.nan)], 1)
    mel, frames = LogMel(20), torch.tensor([(4000 - 400) // 160 + 1])
    found = mel(padded, frames)
    torch.testing.assert_close(found[:, : frames[0]], mel(wave, None))
    assert not found[:, frames[0] :].any()


EXTREMES = {
    "silence": torch.zeros(8000),
    "constant": torch.full((8000,), 0.7),
    "clipped": torch.sign(tones(8000)),
    "faint": tones(8000) * 1e-30,
    "far too loud": tones(8000) * 32768,
    "one click": torch.eye(1, 8000)[0],
}


@pytest.mark.parametrize("name", EXTREMES)
@pytest.mark.parametrize("half", [False, True])
def test_extreme_input_is_finite(fast_config, name, half):
    torch.manual_seed(0)
    front_end = LogMelFrontEnd(fast_config())
    waveforms = torch.stack([EXTREMES[name], tones(8000)])
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        mel = front_end.log_mel(waveforms, torch.tensor([48, 48]))
        features = front_end(waveforms, torch.tensor([8000, 8000]))
    assert torch.isfinite(mel).all() and torch.isfinite(features).all() and mel[1].any()
    lowest = torch.tensor(FLOOR).log() / SPREAD
    assert mel.abs().max() < 15 and lowest > -8 and mel.min() >= QUIET
    features.float().square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in front_end.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_energies_are_never_in_half_precision(fast_model, dtype):
    """Neither autocast nor a model whose weights are in half precision rounds them."""
    waveforms = torch.stack([tones(8000), tones(8000, 1)])
    exact = fast_model().feature_extractor.log_mel(waveforms, None)
    with torch.autocast("cpu", torch.bfloat16):
        within = fast_model().feature_extractor.log_mel(waveforms, None)
    assert within.dtype == torch.float32 and torch.equal(within, exact)
    model, seen = fast_model().to(dtype), []
    model.feature_extractor.log_mel.register_forward_hook(lambda *args: seen.append(args[2]))
    features, _ = model.extract_features(waveforms)
    assert features.dtype == dtype and torch.isfinite(features).all()
    assert seen[0].dtype == torch.float32 and torch.equal(seen[0], exact)
    expected, _ = fast_model().extract_features(waveforms)
    assert torch.cosine_similarity(features.float(), expected, -1).min() > 0.99


def test_a_model_of_another_type_trains(fast_model, batch):
    model = fast_model().to(torch.bfloat16).train()
    batch["waveforms"] = batch["waveforms"].bfloat16()
    loss, _, _ = model(**batch)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_energies_have_no_weights(fast_model):
    front_end = fast_model().feature_extractor
    assert not list(front_end.log_mel.parameters()) and not front_end.log_mel.state_dict()
    waveforms = tones(4000)[None].requires_grad_()
    front_end(waveforms).sum().backward()
    assert waveforms.grad is None and front_end.first.weight.grad.any()


class Given(nn.Module):
    """Log-mel frames that are given, in place of those of waveforms."""

    def __init__(self, frames):
        super().__init__()
        self.frames = frames

    def forward(self, waveforms, lengths):
        return self.frames


@pytest.mark.parametrize("subsampling, reach, middle", [(2, 4, 1), (4, 6, 2)])
@pytest.mark.parametrize("frame", [3, 5])
def test_a_frame_sees_as_much_before_its_centre_label_as_after(
    fast_config, subsampling, reach, middle, frame
):
    """Frame t sees log-mel frames m - reach .. m + reach, m = subsampling t + middle its label."""
    torch.manual_seed(0)
    front_end = LogMelFrontEnd(fast_config(subsampling=subsampling))
    n_frames = 9
    mel = torch.randn(1, n_frames * subsampling, 20, requires_grad=True)
    front_end.log_mel = Given(mel)
    samples = 400 + (n_frames * subsampling - 1) * 160
    features = front_end(torch.zeros(1, samples))
    assert features.shape[1] == n_frames
    features[0, frame].sum().backward()
    seen = mel.grad[0].abs().sum(1).nonzero()[:, 0].tolist()
    label = subsampling * frame + middle
    assert seen == list(range(label - reach, label + reach + 1))
    # The label of 10 ms that training takes for the frame is this one.
    assert front_end.framing.labels_per_frame(100) // 2 == middle


@pytest.mark.parametrize("subsampling", [2, 4])
def test_convolutions_are_convolutions(fast_config, subsampling):
    """The products of overlapping rows are torch's convolutions with zeros around them."""
    torch.manual_seed(0)
    front_end = LogMelFrontEnd(fast_config(subsampling=subsampling)).double()
    for n_mel in range(subsampling, 30):
        mel = torch.randn(2, n_mel, 20, dtype=torch.float64)
        front_end.log_mel = Given(mel)
        x = mel.transpose(1, 2)
        for layer, (stride, before) in zip(
            (front_end.first, front_end.second), front_end.steps, strict=True
        ):
            weight = layer.weight.unflatten(1, (5, -1)).transpose(1, 2)  # (C', C, 5)
            outputs = -(-x.shape[2] // stride)
            padded = nn.functional.pad(x, (before, 9))
            x = nn.functional.conv1d(padded, weight, layer.bias, stride)[..., :outputs]
            x = nn.functional.gelu(x)
        found = front_end(torch.zeros(2, 400 + (n_mel - 1) * 160))
        expected = x.transpose(1, 2)[:, : n_mel // subsampling]
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("factor", [0.8, 0.93, 1.0, 1.1, 1.5])
def test_stretched_channels_are_numpys_interpolation(factor):
    x = torch.randn(2, 7, 40, generator=torch.Generator().manual_seed(1))
    stretched = stretch_channels(x, torch.tensor([factor, 1.0]))
    places = np.arange(40) * np.float32(factor)
    for row, frame in zip(stretched[0].numpy(), x[0].numpy(), strict=True):
        expected = np.interp(places, np.arange(40), frame)
        np.testing.assert_allclose(row, expected, atol=1e-5)
    assert torch.equal(stretched[1], x[1])


def test_formants_move_as_those_of_another_speaker():
    """A higher tone has its peak where the lower one, stretched by the places' ratio, has it."""
    time = torch.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    frequencies, log_mel = (2000.0, 2400.0), LogMel(80)

    def frame(hertz):  # of a tone that another one follows: the mean of one alone would remove it
        tones_ = [(2 * torch.pi * f * time).sin() for f in (hertz, 500.0)]
        return log_mel(torch.cat(tones_)[None], None)[:, 20:21]

    low, high = map(frame, frequencies)
    mel = [np.log((700 + f) / (700 + 20)) for f in frequencies]
    moved = stretch_channels(low, torch.tensor([mel[0] / mel[1]]))
    peaks = [int(x[0, 0].argmax()) for x in (low, moved, high)]
    assert peaks[0] + 2 < peaks[2] and abs(peaks[1] - peaks[2]) <= 1


def test_channels_are_stretched_in_training_alone(fast_values):
    waveforms = torch.stack([tones(16000), tones(16000, seed=1)])
    warped = LogMelFrontEnd(SpeechLMConfig.fast_base(**fast_values(mel_warp=0.2)))
    plain = LogMelFrontEnd(SpeechLMConfig.fast_base(**fast_values()))
    plain.load_state_dict(warped.state_dict())
    torch.manual_seed(1)
    first, second = warped(waveforms), warped(waveforms)
    assert not torch.allclose(first[0], second[0]) and not torch.allclose(first[1], second[1])
    assert torch.equal(warped.eval()(waveforms), plain(waveforms))
