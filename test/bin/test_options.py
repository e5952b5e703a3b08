"""Options that mains share."""

import argparse

import pytest

from speechlm.bin import _training
from speechlm.bin._cli import at_least, parser
from speechlm.bin._search import add_search, search_of
from speechlm.checkpoints.model_dir import SIZES


def test_sizes_are_those_of_the_models():
    """The mains name them without importing torch."""
    assert set(_training.SIZES) == set(SIZES)


@pytest.mark.parametrize("word", ["0", "-3", "1.5", "many", ""])
def test_whole_numbers_from_one_on(word):
    assert at_least(1)("1") == 1 and at_least(1)("12") == 12
    with pytest.raises(argparse.ArgumentTypeError, match="1 or more expected"):
        at_least(1)(word)


@pytest.mark.parametrize(
    "words", [["--text", "a", "link"], ["--text", "a", "--output", "./b/../a"]]
)
def test_a_file_is_not_written_over_what_is_read(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_text("precious")
    (tmp_path / "b").mkdir()
    (tmp_path / "link").symlink_to("out")
    (tmp_path / "out").touch()
    p = parser("")
    p.add_argument("--text", nargs="+")
    p.add_argument("--output", default="out")
    with pytest.raises(SystemExit):
        p.parse_args(words)
    assert "another file expected, this is that of --text" in capsys.readouterr().err
    assert p.parse_args(["--text", "a"]).output == "out"
    assert p.parse_args(["--text", "b", "--output", "b"]).output == "b"  # a folder may be added to


@pytest.mark.parametrize(
    "words", [["--lm_weight", "0"], ["--search", "flashlight"], ["--paper"], ["--max_active", "9"]]
)
def test_options_of_a_search_want_a_word_model(words):
    p = argparse.ArgumentParser()
    add_search(p, "--lm")
    assert search_of(p.parse_args([]))[1] is None
    with pytest.raises(ValueError, match=f"{words[0]}.*: for a search with .* which --lm names"):
        search_of(p.parse_args(words))
