"""Phones that hidden units of text are made from, and the units of a model with random weights."""

import numpy as np
import pytest
import torch

from speechlm.conventions import EOS
from speechlm.data.lexicon import Lexicon
from speechlm.data.monophones import MONOPHONES, N_PHONES
from speechlm.data.text_corpus import TextCorpus
from speechlm.data.unit_store import ChunkReport, UnitStore
from speechlm.data.vocabulary import N_SPECIALS, UnitVocabulary
from speechlm.models.text_to_unit import TextToUnit
from speechlm.models.unit_generator import TextToUnitConfig
from speechlm.tokenizers import hidden_text
from speechlm.tokenizers.hidden_text import HiddenTextTokenizer
from speechlm.tokenizers.phoneme_text import PhonemeTextTokenizer
from speechlm.tokenizers.stored_text import StoredTextTokenizer

LEXICON = Lexicon({"THE": [("DH", "AH0")], "CAT": [("K", "AE1", "T"), ("K", "T")], "A": [("AH0",)]})
SMALL = {"embed_dim": 16, "encoder_layers": 1, "decoder_layers": 1, "ffn_dim": 24}


@pytest.fixture
def model():
    """7 units; random weights, durations of some units a phone."""
    torch.manual_seed(2)
    made = TextToUnit(TextToUnitConfig(**SMALL), N_PHONES, 7).eval()
    with torch.no_grad():
        made.encoder.var_adaptor.duration_predictor.proj.weight.mul_(0.3)
        made.encoder.var_adaptor.duration_predictor.proj.bias.fill_(1.5)
    return made


def spelled(tokenizer, lines):
    rows, *_ = tokenizer.phones(lines, range(len(lines)))
    return [" ".join(MONOPHONES.to_symbols(row)) for row in rows]


def test_phones_have_no_stress_and_no_position(model):
    never = HiddenTextTokenizer(model, LEXICON, 1, 0.0)
    assert spelled(never, ["THE CAT", "A"]) == ["SIL DH AH K AE T SIL </s>", "SIL AH SIL </s>"]
    always = HiddenTextTokenizer(model, LEXICON, 1, 1.0)
    assert spelled(always, ["A  A CAT "]) == ["SIL AH SIL AH SIL K AE T SIL </s>"]
    unknown = always(["A DOG", "CAT"], [0, 1]).unknown
    assert unknown == {"DOG": 1} and spelled(always, ["DOG"]) == ["SIL SPN SIL </s>"]


def test_silences_are_those_of_phoneme_units(model):
    lines = ["THE CAT A CAT THE A CAT"] * 300
    rows, *_ = HiddenTextTokenizer(model, LEXICON, 5).phones(lines, range(300))
    silence = MONOPHONES.to_model_ids(np.array(0))
    between = sum(int((row == silence).sum()) - 2 for row in rows) / (6 * 300)
    assert 0.2 < between < 0.3
    vocabulary = UnitVocabulary.phones()
    phonemes = PhonemeTextTokenizer(LEXICON, 5)(lines, range(300), 0)
    for row, (units, _) in zip(rows, phonemes, strict=True):
        names = vocabulary.to_symbols(units[np.diff(units, prepend=-1) != 0])
        folded = [name.partition("_")[0].rstrip("012") for name in names]
        assert folded[:-1] == MONOPHONES.to_symbols(row)[:-1]


def test_a_line_gives_what_it_gives_alone(model, monkeypatch):
    monkeypatch.setattr(hidden_text, "_GROUP", 20)
    rng = np.random.default_rng(0)
    lines = [" ".join(rng.choice(["THE", "CAT", "A"], n)) for n in (1, 9, 3, 5, 2, 7)]
    tokenizer = HiddenTextTokenizer(model, LEXICON, 3, max_frames=60)
    together = tokenizer(lines, range(6)).rows
    for n, line in enumerate(lines):
        assert len(together[n]) and together[n].max() < 7
        assert (tokenizer([line], [n]).rows[0] == together[n]).all()


def test_what_is_dropped(model, monkeypatch):
    tokenizer = HiddenTextTokenizer(model, LEXICON, 3)
    lines = ["CAT", "", "  ", "CAT " * 700, "THE CAT " * 9, "A"]
    whole = tokenizer(lines, range(10, 16))
    assert [(line.index, line.reason.split()[-1]) for line in whole.dropped] == [
        (11, "empty"),
        (12, "empty"),
        (13, "phones"),
    ]
    assert [len(row) > 0 for row in whole.rows] == [True, False, False, False, True, True]
    longest = len(whole.rows[4])
    monkeypatch.setattr(hidden_text, "MOST_UNITS", longest)
    fewer = tokenizer(lines, range(10, 16))
    assert fewer.dropped[-1].index == 14 and fewer.dropped[-1].reason == f"{longest} units"
    assert [len(row) for row in fewer.rows] == [len(whole.rows[0]), 0, 0, 0, 0, len(whole.rows[5])]
    with torch.no_grad():
        model.encoder.var_adaptor.duration_predictor.proj.weight.fill_(0.0)
        model.encoder.var_adaptor.duration_predictor.proj.bias.fill_(-9.0)
    nothing = tokenizer(["CAT"], [4])
    assert nothing.dropped[0].reason == "0 units" and not len(nothing.rows[0])
    with pytest.raises(ValueError, match="line 8 of the text"):
        tokenizer(["CAT", "CAT-7"], [6, 7])


@pytest.fixture
def stored(tmp_path):
    """Function: numbers of units of lines -> their text, and a store of units 0, 1, ... of it."""

    def make(counts, line="ABBA"):
        path, lines = tmp_path / "text", [line] * len(counts)
        path.write_text("".join(f"{line}\n" for line in lines))
        units = UnitVocabulary(map(str, range(300)))
        store = UnitStore.create(tmp_path / "store", TextCorpus(path), units, 0.02, len(counts), {})
        store.write(0, lines, [np.arange(n) for n in counts], ChunkReport())
        return lines, store

    return make


@pytest.mark.parametrize(
    ("step", "ctc_outputs", "counts", "reason"),
    [
        (1, 1, (5, 4), "5 units, its letters need 6"),  # with </s> 6 and 5 units
        (1, 2, (2, 1), "2 units with 2 outputs each, its letters need 6"),
        (2, 1, (10, 8), "5 units, its letters need 6"),
        (2, 2, (4, 2), "2 units with 2 outputs each, its letters need 6"),
    ],
)
def test_stored_units_that_are_too_few_are_dropped(stored, step, ctc_outputs, counts, reason):
    lines, store = stored(counts)
    tokenizer = StoredTextTokenizer(store, 3, step, ctc_outputs)
    batch = tokenizer(lines, [0, 1], 0)
    assert batch.indices.tolist() == [0]
    assert [(line.index, line.reason, line.impossible) for line in batch.dropped] == [
        (1, reason, True)
    ]
    assert tokenizer.unit_counts(lines, [0, 1], 0).tolist() == [len(batch[0][0]), 0]


def test_every_nth_stored_unit_from_a_phase_of_seed_pass_and_line(stored):
    """At the ends, too: a line that has units keeps one, and one without has none."""
    counts = [0, 1, 2, 3, *range(40, 240)]
    lines, store = stored(counts, "A")
    numbers = np.arange(len(counts))
    phases = {}
    for seed, number in ((1, 0), (1, 7), (2, 0)):
        tokenizer = StoredTextTokenizer(store, seed, 3, 2)
        batch = tokenizer(lines, numbers, number)
        assert batch.indices.tolist() == numbers[1:].tolist()
        rows = [units for units, _ in batch]
        assert all(row[-1] == EOS for row in rows)
        firsts = phases[seed, number] = np.array([row[0] for row in rows]) - N_SPECIALS
        for n, first, row in zip(counts[1:], firsts, rows, strict=True):
            assert row[:-1].tolist() == list(range(N_SPECIALS + first, N_SPECIALS + n, 3))
        assert tokenizer.unit_counts(lines, numbers, number).tolist() == [0, *map(len, rows)]
        some = numbers[::-7]  # in another order, and each with a pass of its own
        again = tokenizer([lines[n] for n in some], some, np.full(len(some), number))
        for n, (units, _) in zip(again.indices, again, strict=True):
            assert np.array_equal(units, rows[n - 1])
    drawn = phases[1, 0][3:]
    assert all(abs((drawn == phase).mean() - 1 / 3) < 0.12 for phase in range(3))
    assert (drawn != phases[1, 7][3:]).any() and (drawn != phases[2, 0][3:]).any()
