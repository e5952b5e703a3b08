"""Lines of a text that are drawn at random."""

import pytest

from speechlm.data import text_sample
from speechlm.data.text_sample import sample_text


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text"
    path.write_text("".join(f"LINE {n} \u00e9\n" for n in range(500)))
    return path


def drawn(text, n, seed=3):
    sample_text(text, text.parent / "out", n, seed)
    return (text.parent / "out").read_text().splitlines()


def test_fewer_lines_are_among_more(text, monkeypatch):
    everything = text.read_text().splitlines()
    monkeypatch.setattr(text_sample, "_BLOCK", 7)
    more = drawn(text, 200)
    assert len(set(more)) == 200 and set(more) <= set(everything)
    assert drawn(text, 40) == more[:40]
    assert sorted(drawn(text, 500)) == sorted(everything)


def test_lines_are_drawn_from_everywhere_by_the_seed(text):
    places = sorted(int(line.split()[1]) for line in drawn(text, 100))
    assert places != list(range(100)) and 200 < sum(places) / 100 < 300
    assert drawn(text, 100) == drawn(text, 100) != drawn(text, 100, seed=4)


@pytest.mark.parametrize("n", [0, -1, 501])
def test_other_numbers_are_refused_and_nothing_is_written(text, n):
    with pytest.raises(ValueError, match=rf"text has 500 lines: .* 1 to 500 expected, got {n}"):
        drawn(text, n)
    assert not (text.parent / "out").exists()


def test_main(run_main, text):
    words = ("--input", text, "--lines", 20, "--output", "new/train.txt")
    done = run_main("sample_text", *words, cwd=text.parent)
    assert done.returncode == 0, done.stderr
    assert "new/train.txt: 20 of the 500 lines of" in done.stderr
    assert len((text.parent / "new" / "train.txt").read_text().splitlines()) == 20
