"""Fast models of 40 ms frames write two CTC outputs a frame: their number and their times."""

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from speechlm.checkpoints.model_dir import Description, save_model
from speechlm.conventions import PAPER_FRAMING, SAMPLE_RATE, Framing
from speechlm.data.archives import ArchiveReader, merge_archives
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.decode.emissions import Emissions
from speechlm.decode.long_audio import WindowOptions, plan_windows
from speechlm.decode.transcribe import CTC
from speechlm.decode.write_emissions import log_probabilities, write_emissions
from speechlm.models import SpeechLMConfig

LETTER = int(CharacterVocabulary().encode("A")[0])
MEL, DIM = 8, 8
LENGTHS = (300, 399, 400, 879, 880, 1519, 1520, 16000, 16079, 16400, 16880, 17519, 17520)


@pytest.fixture(scope="module", params=[2, 4])
def listener(request, tmp_path_factory):
    """Folder of a fast model that writes A where it is loud and ends the word behind that."""
    config = SpeechLMConfig.fast_tiny(
        subsampling=request.param,
        mel_channels=MEL,
        subsampling_channels=DIM,
        embed_dim=DIM,
        ffn_dim=DIM,
        heads=2,
        speech_layers=1,
        shared_layers=1,
        depthwise_kernel=1,
    )
    description = Description(config, "ctc", characters=CharacterVocabulary.symbols)
    model = description.build()
    with torch.no_grad():
        for layer in (*model.encoder.layers, *model.unit_encoder.layers):
            layer.self_attn.out_proj.weight.zero_(), layer.fc2.weight.zero_()  # x + 0
        listen(model.feature_extractor, request.param // 2)
        model.post_extract_proj.weight.copy_(torch.eye(DIM))
        write(model.unit_encoder_ctc_head, config.ctc_outputs)
    path = tmp_path_factory.mktemp("listener") / "model"
    save_model(path, description, model.state_dict())
    return path


def listen(front_end: nn.Module, stride: int) -> None:
    """Channel 0 becomes the level of a frame's own log-mel windows, channel 1 is 1.

    Loud windows have about 0, quiet ones -3: channel 0 has 3 there, and 0.
    """
    front_end.first.weight.zero_(), front_end.second.weight.zero_()
    first = front_end.first.weight.view(DIM, 5, MEL)  # (out, tap, in)
    first[0, 2 : 2 + stride] = 3 / (stride * MEL)
    front_end.first.bias[0] = 3.0
    front_end.second.weight.view(DIM, 5, DIM)[0, 1:3, 0] = 0.5
    front_end.second.bias[1] = 1.0


def write(head: nn.Module, outputs: int) -> None:
    """Scores of A from channel 0, of the blank from 1, of the end where 0 was high a frame ago."""
    convolution = getattr(head, "1").weight  # (outputs x out, in, frame before and frame)
    convolution.zero_()
    for n in range(outputs):
        convolution[n * DIM, 0, 1] = convolution[n * DIM + 1, 1, 1] = 1.0
        convolution[n * DIM + 2, 0] = torch.tensor([2.0, -2.0])
    head.output_layer.weight.zero_()
    head.output_layer.bias.zero_()
    for symbol, channel in ((LETTER, 0), (0, 1), (CharacterVocabulary.word_end, 2)):
        head.output_layer.weight[symbol, channel] = 5.0


def bursts(seconds: float, seed: int) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """A waveform of noises between pauses, and when each begins and ends."""
    rng = np.random.default_rng(seed)
    wave, at, spans = 1e-4 * rng.standard_normal(int(seconds * SAMPLE_RATE)), 0.4, []
    while at + 1 < seconds:
        end = at + rng.uniform(0.15, 0.6)
        first, last = int(at * SAMPLE_RATE), int(end * SAMPLE_RATE)
        wave[first:last] += 0.1 * rng.standard_normal(last - first)
        spans.append((at, end))
        at = end + rng.choice([0.25, 0.4, 0.7, 1.3, 4.0])
    return wave.astype(np.float32), spans


@pytest.mark.parametrize("seconds", [8, 75])
def test_words_are_where_they_are_spoken(listener, seconds):
    """To 0.1 s, in one window and in many of them, which begin at any frame."""
    wave, spans = bursts(seconds, seconds)
    window = WindowOptions(longest=9.0, usual=4.0)
    (found,) = CTC.from_pretrained(listener).transcribe([wave], window=window)
    words = [word for segment in found.segments for word in segment.words]
    assert [word.word for word in words] == ["A"] * len(spans)
    times = np.array([(word.start, word.end) for word in words])
    assert abs(times - np.array(spans)).max() < 0.1


def test_windows_begin_at_whole_frames_and_count_outputs():
    wave, _ = bursts(60, 3)
    framing, coarse = SpeechLMConfig.fast_tiny().ctc_framing, Framing(880, 640)
    options = WindowOptions(longest=6.0, usual=3.0)
    windows = list(plan_windows([wave], framing, options))
    frames = list(plan_windows([wave], coarse, options))
    assert len(windows) > 5 and [w.first for w in windows] == [2 * w.first for w in frames]
    for window in windows:
        start = window.first // 2 * 640
        np.testing.assert_array_equal(wave[start : start + len(window.waveform)], window.waveform)


@pytest.fixture(scope="module")
def lengths(tmp_path_factory):
    """A data directory of utterances of `LENGTHS` samples."""
    folder = tmp_path_factory.mktemp("lengths")
    wave, _ = bursts(3, 1)
    paths = {f"s-{n:06d}": folder / f"{n}.wav" for n in LENGTHS}
    for (utterance, path), n in zip(paths.items(), LENGTHS, strict=True):
        soundfile.write(path, wave[:n], SAMPLE_RATE, subtype="FLOAT")
        assert utterance.endswith(str(n))
    data = DataDir(
        wav={u: str(path) for u, path in paths.items()},
        utt2spk=dict.fromkeys(paths, "s"),
        n_samples=dict(zip(paths, LENGTHS, strict=True)),
    )
    data.write(folder)
    return DataDir.read(folder)


def test_emissions_are_20_ms_and_as_many_as_the_framing_says(listener, lengths, tmp_path):
    model = CTC.from_pretrained(listener)
    framing = model.framing
    assert framing.seconds == 0.02
    write_emissions(model, lengths, tmp_path, source="a test")
    merge_archives(tmp_path, 1, "emissions")
    assert (tmp_path / "frame_shift").read_text() == "0.02\n"
    short = [u for u, n in lengths.samples().items() if n < framing.window]
    skipped = (tmp_path / "skipped.1").read_text().splitlines()
    assert skipped == [f"{u} shorter than a frame" for u in short] and len(short) >= 3
    stored = ArchiveReader(tmp_path / "emissions.scp")
    opened = Emissions(tmp_path, lengths.samples())
    for utterance, n in lengths.samples().items():
        found = opened[utterance]
        assert len(found) == framing.frames(n) == len(stored.get(utterance, ()))
        assert PAPER_FRAMING.frames(n) - 2 <= len(found) <= PAPER_FRAMING.frames(n)
        alone = log_probabilities(model, [lengths.waveform(utterance)])[0]
        np.testing.assert_allclose(found, alone, atol=1e-4)
    with pytest.raises(ValueError, match="s-016000 has 4[89] frames, but 65 or a few less are in"):
        Emissions(tmp_path, {"s-016000": 65 * 320})["s-016000"]
