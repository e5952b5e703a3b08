"""Vocabulary: order, ids and folding, against the authors' released dictionaries."""

import numpy as np
import pytest

from speechlm.data.vocabulary import (
    FOLDED_PHONES,
    PHONES,
    CharacterVocabulary,
    UnitVocabulary,
    add_positions,
    fold_phone,
    folding_table,
    phone_id,
)


@pytest.fixture
def official(shared):
    folder = shared / "data/official_label_samples/SpeechLM/dataset/LibriLM/phone_unit/bin-idx"
    if not folder.is_dir():
        pytest.skip(f"no official label samples at {folder}")
    return folder


def _first_column(path):
    return [line.split()[0] for line in path.read_text().splitlines()]


def test_phones_are_the_official_ones(official):
    assert list(PHONES) == _first_column(official / "dict.phn.txt")


def test_characters_are_the_official_ones(official):
    names = _first_column(official / "dict.ltr.txt")
    assert list(CharacterVocabulary.symbols[4:]) == names
    assert CharacterVocabulary.n_ids == 33


def test_official_transcripts_survive_encoding(official):
    path = official.parents[2] / "LibriSpeech/asr/train_sample100.ltr"
    characters = CharacterVocabulary()
    lines = path.read_text().splitlines()
    for line in lines:
        sentence = line.replace(" ", "").replace("|", " ").strip()
        ids = characters.encode(sentence)
        assert [characters.symbols[i] for i in ids] == line.split()
        assert characters.decode(ids) == sentence
    assert len(lines) == 100


def test_known_ids():
    assert len(PHONES) == 364
    units = UnitVocabulary.phones()
    assert (units.n_ids, units.mask, units.pad, units.eos, units.unk) == (369, 368, 1, 2, 3)
    assert (phone_id["SIL"], phone_id["SPN_S"], phone_id["#16"]) == (1, 10, 363)
    np.testing.assert_array_equal(units.to_model_ids(units.labels(["SIL", "#16"])), [5, 367])
    names = ["<s>", "<pad>", "</s>", "<unk>", "SIL", "<mask>"]
    assert units.to_symbols([0, 1, 2, 3, 5, 368]) == names


@pytest.mark.parametrize("labels", [[-1], [364], [0, 400]])
def test_labels_out_of_range_are_refused(labels):
    with pytest.raises(ValueError, match="do not fit"):
        UnitVocabulary.phones().to_model_ids(np.array(labels))


def test_folding():
    assert fold_phone("AH0_I") == fold_phone("AH") == fold_phone("AH2") == "AH"
    assert fold_phone("SIL_E") == fold_phone("SIL") == "SIL" and fold_phone("SPN_S") == "SPN"
    assert len(FOLDED_PHONES) == 41
    table = folding_table()
    assert set(np.flatnonzero(table < 0)) == {0, *range(347, 364)}
    assert FOLDED_PHONES[table[phone_id["ZH_E"]]] == "ZH"
    assert set(table[table >= 0]) == set(range(41))
    for bad in ("#3", "<eps>", "XX_B", ""):
        with pytest.raises(ValueError, match="not a phone"):
            fold_phone(bad)


def test_positions():
    assert add_positions(["AY1"]) == ["AY1_S"]
    assert add_positions(["T", "UW1"]) == ["T_B", "UW1_E"]
    assert add_positions(["K", "AE1", "T", "S"]) == ["K_B", "AE1_I", "T_I", "S_E"]
    with pytest.raises(ValueError, match="without phones"):
        add_positions([])


def test_tokens_file_round_trip_and_mismatch(tmp_path):
    units = UnitVocabulary([str(n) for n in range(500)])
    units.write(tmp_path / "tokens.txt")
    back = UnitVocabulary.read(tmp_path / "tokens.txt")
    assert back.symbols == units.symbols and back.n_ids == 505
    back.check_same(units)
    other = UnitVocabulary([*units.symbols[:7], "x", *units.symbols[8:]], "exp/model/tokens.txt")
    with pytest.raises(ValueError, match=r"tokens.txt.*exp/model/tokens.txt.*label 7 is 7.*x"):
        back.check_same(other)
    with pytest.raises(ValueError, match="500.*499.*label 499 is 499 .*nothing"):
        back.check_same(UnitVocabulary(units.symbols[:-1], "short"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\nb c\n", "line.s. 2"),
        ("a\na\n", "twice: a"),
        ("", "is empty"),
        ("a\n<pad>\n", "<pad> must"),
    ],
)
def test_bad_tokens_files(tmp_path, text, message):
    (tmp_path / "tokens.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        UnitVocabulary.read(tmp_path / "tokens.txt")


def test_characters():
    characters = CharacterVocabulary()
    np.testing.assert_array_equal(characters.encode("HE'D  ET "), [11, 5, 27, 14, 4, 5, 6, 4])
    assert characters.decode([0, 5, 4, 1, 6, 4, 2, 32]) == "E T"
    assert len(characters.encode("  ")) == 0
    for bad in ("he", "A-B", "CAFÉ", "A|B"):
        with pytest.raises(ValueError, match="only A-Z"):
            characters.encode(bad)


def test_clusters_are_of_one_clustering(tmp_path):
    names = [str(n) for n in range(5)]
    first, other = (UnitVocabulary(names, name, f"kmeans-{name}") for name in "ab")
    with pytest.raises(ValueError, match="a and b are clusters of two clusterings"):
        first.check_same(other)
    first.write(tmp_path / "tokens.txt")
    read = UnitVocabulary.read(tmp_path / "tokens.txt")
    assert read.origin == "kmeans-a"
    read.check_same(first)
    read.check_same(UnitVocabulary(names))  # not known where these are from
    UnitVocabulary(names).write(tmp_path / "tokens.txt")
    assert UnitVocabulary.read(tmp_path / "tokens.txt").origin is None
