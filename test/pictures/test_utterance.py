"""Pictures of an utterance: times, words, what is predicted under which mask, attention."""

import itertools

import numpy as np
import pytest
import torch

from speechlm.checkpoints.model_dir import save_speechlm
from speechlm.checkpoints.pretrained import SpeechLM as PretrainedSpeechLM
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.vocabulary import UnitVocabulary
from speechlm.models import SpeechLM, SpeechLMConfig
from speechlm.pictures.attention import attention_of
from speechlm.pictures.example import Span, predict, read_example, spans_of, words_of
from speechlm.pictures.look import read_about


@pytest.fixture(scope="module", params=["base", "fast_base", "large"])
def model(request, tmp_path_factory, model_values, fast_values):
    """Folder of a very small model of each architecture with phones as units."""
    torch.manual_seed(1)
    values = fast_values() if request.param.startswith("fast") else model_values()
    config = getattr(SpeechLMConfig, request.param)(**values)
    units = UnitVocabulary.phones()
    folder = tmp_path_factory.mktemp("model") / request.param
    save_speechlm(folder, config, units, SpeechLM(config, units.n_ids, 33).state_dict())
    return folder


@pytest.fixture(scope="module")
def example(chords):
    units = chords / "dev" / "units_phone"
    return read_example(chords / "dev", units, units)


def test_runs_have_times():
    labels = ["a", "a", "", "b", "a"]
    spans = spans_of(labels, 0.5, 0.25)
    assert spans == [(0.25, 1.25, "a"), (1.75, 2.25, "b"), (2.25, 2.75, "a")]
    assert spans_of([], 1, 0) == spans_of([""], 1, 0) == []


def test_words_begin_and_end_with_their_phones():
    phones = [("SIL", 0), ("W_B", 1), ("AY_I", 2), ("T_E", 3), ("SIL", 4), ("AH0_S", 5)]
    spans = [Span(n, n + 1, name) for name, n in phones]
    assert words_of(spans, ["WHITE", "A"]) == [(1, 4, "WHITE"), (5, 6, "A")]
    assert words_of(spans, ["WHITE"]) == []  # a transcript that the alignment does not have


def test_the_utterance_is_the_one_of_that_length(chords, example):
    data = DataDir.read(chords / "dev")
    lengths = {u: abs(n / 16000 - 2.6) for u, n in data.samples().items()}
    assert lengths[example.utterance] == min(lengths.values())
    assert [word.label for word in example.words] == data.text[example.utterance].split()
    assert example.rate == 100 and example.phones[0].label == "SIL"
    assert example.phones[-1].end == pytest.approx(len(example.waveform) / 16000, abs=0.02)
    units = chords / "dev" / "units_phone"
    other = next(u for u in data.ids if u != example.utterance)
    assert read_example(chords / "dev", units, units, other).utterance == other
    with pytest.raises(ValueError, match="none of the utterances"):
        read_example(chords / "dev", units, units, "x")


def test_predictions_are_of_masked_frames(model, example):
    network = PretrainedSpeechLM.from_pretrained(model)
    found = predict(network, example, 3)
    frames = len(found.masked)
    shift = network.framing.shift / 16000
    assert frames == pytest.approx(len(example.waveform) / 16000 / shift, abs=2)
    assert 0 < found.masked.sum() < frames
    for labels in (found.middle, found.top):
        assert [bool(label) for label in labels] == found.masked.tolist()
    # Each frame's unit is the label that is spoken in its middle, or the one before or behind it.
    first = found.framing.window / 2 / 16000
    for n, target in enumerate(found.targets):
        place = round((first + n * shift) / 0.01) - 1
        near = example.labels[max(0, place - 2) : place + 3]
        assert target in {example.vocabulary.symbols[label] for label in near}
    again, other = predict(network, example, 3), predict(network, example, 4)
    assert again.middle == found.middle and (other.masked != found.masked).any()
    right = [a == b for a, b in zip(found.top, found.targets, strict=True) if a]
    assert found.accuracy(found.top) == pytest.approx(100 * np.mean(right))


def test_units_of_another_model_are_refused(model_folder, example):
    network = PretrainedSpeechLM.from_pretrained(model_folder())
    with pytest.raises(ValueError, match="the units of .* differ"):
        predict(network, example, 1)


def test_attention_is_what_the_layer_computes(model, example):
    """The values, mixed by these shares, are the layer's output."""
    network = PretrainedSpeechLM.from_pretrained(model).double()
    attention = network.encoder.layers[0].self_attn
    given = []
    handle = attention.register_forward_hook(lambda *known: given.append(known))
    shares = torch.from_numpy(attention_of(network, example.waveform.astype(np.float64), 1))
    handle.remove()
    _, (x, *_), output = given[0]
    if hasattr(attention, "v_proj"):
        values = attention.v_proj(x)
    else:
        values = attention.qkv_proj(x).chunk(3, -1)[2]
    values = values.unflatten(2, (attention.heads, -1)).transpose(1, 2)
    mixed = (shares.double() @ values[0]).transpose(0, 1).flatten(1)
    torch.testing.assert_close(attention.out_proj(mixed), output[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(shares.sum(-1), torch.ones(shares.shape[:2]), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="a number from 1 to 2 expected, got 3"):
        attention_of(network, example.waveform, 3)


@pytest.mark.parametrize("model", ["fast_base"], indirect=True)
def test_the_command_draws_both_pictures(model, chords, drawn, run_main, tmp_path):
    units = chords / "dev" / "units_phone"
    words = ("--data_dir", chords / "dev", "--alignments", units, "--units", units)
    files = ("--output", tmp_path / "u.png", "--attention", tmp_path / "a.png")
    done = run_main("plot_utterance", "--model", model, "--name", "tiny", *words, *files)
    assert done.returncode == 0, done.stderr
    rows = drawn[0].axes
    names = [axes.get_ylabel().split("\n")[0] for axes in rows[2:]]
    assert names == ["words", "phones", "masked", "units", "middle", "top"]
    assert [text.get_text() for text in rows[2].texts]
    for axes in rows[2:]:  # no letter over another
        ends = sorted(text.get_window_extent().intervalx.tolist() for text in axes.texts)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(ends))
    assert len(drawn[1].axes) == 2  # heads
    assert read_about(tmp_path / "u.png").title == "An utterance and what tiny predicts"
    assert read_about(tmp_path / "a.png").title == "Attention of layer 1 of tiny"
