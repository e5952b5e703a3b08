"""Ids of names that are none, and which files are hidden."""

import unicodedata
from urllib.parse import unquote

import pytest

from speechlm.data.kaldi_dir import DataDir
from speechlm.data.names import (
    MAX_BYTES,
    id_problem,
    is_hidden,
    path_problem,
    safe_id,
    speaker_of,
    visible,
)

ODD = [
    "my file",
    "two  blanks",
    "a\ttab",
    "a\nline",
    " around ",
    "no\u00a0break",
    "wide\u3000blank",
    "zero\u200bwidth",
    "\ufeffmark",
    "bell\x07",
    "next\x85line",
    "a/b",
    "a\\b",
    ".hidden",
    "..",
    "byte\udce9",
]


@pytest.mark.parametrize("name", ODD)
def test_odd_names_have_ids_that_tables_can_hold(tmp_path, name):
    utterance = safe_id(name)
    assert not id_problem(utterance) and utterance != name
    assert unquote(utterance, errors="surrogateescape") == name
    data = DataDir({utterance: "/a b.wav"}, {utterance: speaker_of(utterance)})
    data.write(tmp_path)
    assert DataDir.read(tmp_path) == data


@pytest.mark.parametrize(
    "name", ["1-2-0003", "müller-1", "é~b+c", "語", "100%", "my%20file", "x" * MAX_BYTES]
)
def test_sound_names_stay(name):
    assert safe_id(name) == name and not id_problem(name)


def test_different_names_have_different_ids():
    names = [*ODD, "my_file", "my-file", "two blanks", "%", "100%", "a_b", "a-b", "hidden", "_"]
    assert len({safe_id(name) for name in names}) == len(names)


@pytest.mark.parametrize("name", ODD)
def test_an_id_is_its_own_id(name):
    assert safe_id(safe_id(name)) == safe_id(name)
    assert safe_id(safe_id(name * 50)) == safe_id(name * 50)


def test_accents_have_one_spelling():
    name = "café-1"
    assert safe_id(unicodedata.normalize("NFD", name)) == safe_id(name) == name


def test_long_names_end_in_a_checksum():
    long = ["x" * 300 + "1", "x" * 300 + "2", "é" * 200, " " * 200]
    ids = [safe_id(name) for name in long]
    assert len(set(ids)) == len(ids)
    assert all(len(i.encode()) <= MAX_BYTES and not id_problem(i) for i in ids)
    assert len(safe_id(long[0], 99).encode()) == 99
    with pytest.raises(ValueError, match="an empty one"):
        safe_id("")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "empty"),
        (".x", "a leading dot"),
        ("a/b", "a slash"),
        ("a b", "' '"),
        ("a\x00", r"\x00"),
        ("x" * (MAX_BYTES + 1), "161 bytes"),
    ],
)
def test_ids_of_other_programs(name, problem):
    assert problem in id_problem(name)


@pytest.mark.parametrize(
    "path", ["", "|cat", "sox x |", " a.wav", "a.wav ", "a\nb.wav", "a\rb.wav", "\udce9.wav"]
)
def test_paths_that_tables_cannot_hold(tmp_path, path):
    assert path_problem(path)
    with pytest.raises(ValueError, match="1 entries could not be read back.*'u', path"):
        DataDir({"u": path}, {"u": "u"}).write(tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_paths_with_blanks_inside_are_sound(tmp_path):
    data = DataDir({"u": "/a  b/c | d.wav"}, {"u": "u"})
    data.write(tmp_path)
    assert DataDir.read(tmp_path).wav == data.wav


@pytest.mark.parametrize(
    ("utterance", "speaker"), [("a b", "a"), ("a/b", "a"), ("a-1", ""), ("a-1", "a b")]
)
def test_ids_and_speakers_that_tables_cannot_hold(tmp_path, utterance, speaker):
    with pytest.raises(ValueError, match="could not be read back"):
        DataDir({utterance: "/x.wav"}, {utterance: speaker}).write(tmp_path / "d")


def test_translations_that_are_empty_are_not_written(tmp_path):
    data = DataDir({"u": "/x.wav"}, {"u": "u"}, translations={"de": {"u": " "}})
    with pytest.raises(ValueError, match="translation into de: it is empty"):
        data.write(tmp_path / "d")


def test_speakers_stand_before_the_first_hyphen():
    assert [speaker_of(u) for u in ("a-b-c", "a", "-a")] == ["a", "a", "-a"]


def test_hidden_files(tmp_path):
    names = ["._a.wav", ".DS_Store", ".nfs0000012", "Thumbs.db", "desktop.ini", "__MACOSX"]
    assert all(map(is_hidden, names)) and not is_hidden("thumbs.wav")
    for name in [*names, "b.wav", "a.wav"]:
        (tmp_path / name).touch()
    assert [path.name for path in visible(tmp_path.iterdir())] == ["a.wav", "b.wav"]
