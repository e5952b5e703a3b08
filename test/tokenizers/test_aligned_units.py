"""Phones with durations in units, from alignments; which utterances are left out, which refused."""

import numpy as np
import pytest

from speechlm.conventions import EOS
from speechlm.data.archives import ArchiveReader, ArchiveWriter, merge_archives, write_unit_info
from speechlm.data.monophones import (
    MONOPHONES,
    Misfit,
    phone_of_label,
    phone_of_unit,
    with_durations,
)
from speechlm.data.vocabulary import PHONES, UnitVocabulary, phone_id
from speechlm.tokenizers.aligned_units import held_out, make_pairs, read_pairs

TABLE = phone_of_label()


def names(phones):
    return MONOPHONES.to_symbols(phones)


def labels(*runs):
    """("K_B", 3), ... -> 10 ms labels."""
    return np.concatenate([np.full(n, phone_id[symbol]) for symbol, n in runs])


def test_the_phones_are_41_without_stress_and_position():
    assert len(MONOPHONES) == 41
    for symbol, phone in (("SIL", "SIL"), ("SPN_S", "SPN"), ("AH0_I", "AH"), ("AA_E", "AA")):
        assert names([TABLE[phone_id[symbol]]]) == [phone]
    assert TABLE[phone_id["<eps>"]] == TABLE[phone_id["#3"]] == -1
    units = UnitVocabulary.phones()
    ids = units.to_model_ids(np.arange(len(PHONES)))
    assert (phone_of_unit()[ids] == TABLE).all() and phone_of_unit()[EOS] == EOS
    assert phone_of_unit()[units.mask] == -1


def test_places_are_rounded_not_lengths():
    aligned = labels(("SIL", 3), ("K_B", 4), ("AE1_I", 2), ("T_E", 1))
    phones, durations = with_durations(aligned, TABLE, 5, 2)
    assert names(phones) == ["SIL", "K", "AE", "T"]
    assert durations.tolist() == [2, 2, 1, 0]
    assert with_durations(aligned, TABLE, 6, 2)[1].tolist() == [2, 2, 1, 1]
    assert with_durations(aligned, TABLE, 4, 2)[1].tolist() == [2, 2, 0, 0]
    for n in (3, 7):
        with pytest.raises(Misfit, match=f"10 labels .* make 5 units, found {n}"):
            with_durations(aligned, TABLE, n, 2)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_each_unit_is_of_the_phone_of_its_own_label(factor):
    rng = np.random.default_rng(factor)
    usable = np.flatnonzero(TABLE >= 0)
    for _ in range(50):
        aligned = np.repeat(rng.choice(usable, 12), rng.integers(1, 9, 12))
        n = -(-len(aligned) // factor)
        phones, durations = with_durations(aligned, TABLE, n, factor)
        assert durations.sum() == n and (durations >= 0).all()
        assert (np.repeat(phones, durations) == TABLE[aligned[::factor]]).all()


def test_labels_that_are_no_phones():
    with pytest.raises(ValueError, match="label 0 of the alignment is no phone"):
        with_durations(np.zeros(4, np.int64), TABLE, 2, 2)
    with pytest.raises(ValueError, match="labels 0 to 363 expected, found 400"):
        with_durations(np.full(4, 400), TABLE, 2, 2)


def write(folder, rows, shift, tokens):
    with ArchiveWriter(folder, "units") as writer:
        for name in sorted(rows):
            writer.write(name, np.asarray(rows[name]))
    merge_archives(folder, 1)
    write_unit_info(folder, shift, tokens)


@pytest.fixture
def folders(tmp_path):
    """(function that writes alignments and units, their folders): 30 utterances of 8 phones."""
    rng = np.random.default_rng(0)
    words = [label for label in np.flatnonzero(TABLE >= 0) if PHONES[label][:2] != "SI"]
    aligned = {
        f"s-{n:02d}": np.repeat(rng.choice(words, 8, False), rng.integers(3, 9, 8))
        for n in range(30)
    }
    units = {name: rng.integers(0, 9, -(-len(row) // 2)) for name, row in aligned.items()}

    def save(label_shift=0.01, unit_shift=0.02, tokens=9):
        write(tmp_path / "align", aligned, label_shift, PHONES)
        write(tmp_path / "units", units, unit_shift, [str(n) for n in range(tokens)])
        return tmp_path / "align", tmp_path / "units", tmp_path / "pairs"

    return aligned, units, save


def test_what_cannot_be_used_is_listed_and_counted(folders):
    aligned, units, save = folders
    del units["s-00"]
    units["t-00"] = units["s-01"]
    units["s-02"] = units["s-02"][:-2]
    aligned["s-03"] = np.full(40, phone_id["SIL"])
    units["s-03"] = np.zeros(20, np.int64)
    aligned["s-04"], units["s-04"] = aligned["s-04"][:1], units["s-04"][:1]
    aligned["s-05"][3] = phone_id["#1"]
    units["s-06"] = np.append(units["s-06"], 1)
    aligned["s-07"][-1] = phone_id["SIL"]
    if len(aligned["s-07"]) % 2:
        aligned["s-07"], units["s-07"] = aligned["s-07"][1:], units["s-07"][1:]
    align, unit_folder, output = save()
    report = make_pairs(align, unit_folder, output, 0.1)
    assert report.pairs == {"train": 23, "valid": 2} and set(report.left_out) == {
        *(f"s-{n:02d}" for n in (0, 2, 3, 4, 5)),
        "t-00",
    }
    text = (output / "report.txt").read_text()
    for line in ("s-00 no units", "t-00 no alignment", "s-03 silence only", "s-04 1 units"):
        assert line in text
    assert "label 348 of the alignment is no phone" in text
    expected = -(-len(aligned["s-02"]) // 2)
    assert f"make {expected} units, found {expected - 2}" in text
    assert report.without_unit == {"s-07": 1} and "\ns-07 1\n" in text
    seen = 0
    for part in ("train", "valid"):
        ids = list(ArchiveReader(output / part / "units.scp"))
        for name, pair in zip(ids, read_pairs(output / part), strict=True):
            assert pair.durations.sum() == len(pair.units) and (pair.units == units[name]).all()
            assert len(pair.phones) == len(pair.durations)
            seen += 1
    assert seen == 25 and report.units == sum(len(units[f"s-{n:02d}"]) for n in (1, *range(6, 30)))


def test_a_damaged_utterance_is_left_out(folders):
    align, unit_folder, output = folders[2]()
    scp = align / "units.scp"
    lines = scp.read_text().splitlines()
    lines[4] = lines[4].rpartition(":")[0] + ":3"
    scp.write_text("\n".join(lines) + "\n")
    report = make_pairs(align, unit_folder, output, 0.1)
    assert list(report.left_out) == ["s-04"] and "binary Kaldi array" in report.left_out["s-04"]


def test_units_of_other_audio_are_refused(folders):
    aligned, units, save = folders
    for name in list(units)[:5]:
        units[name] = np.append(units[name], [1, 2])
    with pytest.raises(ValueError, match="5 of 30 utterances differ by more than one unit.*s-00"):
        make_pairs(*save(), 0.1)


def test_units_that_tokens_lack_are_refused(folders):
    with pytest.raises(ValueError, match="has units 0 to 7, but s-.. has . to 8"):
        make_pairs(*folders[2](tokens=8), 0.1)


def test_frame_shifts_that_do_not_fit_are_refused(folders):
    with pytest.raises(ValueError, match="every 0.015 s and .* every 0.01 s"):
        make_pairs(*folders[2](unit_shift=0.015), 0.1)


def test_nothing_usable(folders):
    aligned, _, save = folders
    for name in aligned:
        aligned[name] = np.full_like(aligned[name], phone_id["SIL"])
    with pytest.raises(ValueError, match=r"no usable pair: s-00 \(silence only\)"):
        make_pairs(*save(), 0.1)


def test_held_out_utterances_are_spread():
    ids = [f"u{n:03d}" for n in range(200)]
    chosen = sorted(held_out(ids, 0.05))
    assert chosen == [f"u{n:03d}" for n in range(10, 200, 20)]
    assert len(held_out(ids[:3], 0.01)) == 1
    for share in (0.0, 1.0, 0.9):
        with pytest.raises(ValueError, match="cannot be held out"):
            held_out(ids[:2], share)


def test_equal_phones_of_two_words_stay_two():
    """LESS SEND: an S at the end of a word and one at the beginning of the next."""
    phones, durations = with_durations(labels(("S_E", 6), ("S_B", 4)), TABLE, 5, 2)
    assert names(phones) == ["S", "S"] and durations.tolist() == [3, 2]
