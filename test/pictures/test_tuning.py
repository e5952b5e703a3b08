"""Pictures of tunings: the chosen point, its neighborhood, blank scores of all systems."""

import json

import pytest

from speechlm.pictures.look import read_about
from speechlm.pictures.tuning import read_tried

HEAD = "lm_weight\tword_score\tblank_score\twer\tsub"


@pytest.fixture
def tuning(tmp_path):
    """Function that writes what tune_ctc writes."""

    def write(name, points, chosen):
        folder = tmp_path / name
        folder.mkdir()
        rows = ["\t".join(map(str, (*point, rate, 1))) for point, rate in points.items()]
        (folder / "grid.tsv").write_text("\n".join([HEAD, *rows]) + "\n")
        names = ("lm_weight", "word_score", "blank_score")
        weights = dict(zip(names, chosen, strict=True)) | {"beam": {}, "search": "graph"}
        (folder / "weights.json").write_text(json.dumps(weights))
        return folder

    return write


def test_the_command_draws_a_map_a_system(drawn, tuning, run_main, tmp_path):
    near = {(2 + x, y, 1): 20 + x + y for x in (-1, 0, 1) for y in (-1, 0)}
    far = {(9 + n, 0, 1): 50 for n in range(4)} | {(2, 0, 4): 33.3}
    first = tuning("one", near | far, (2, 0, 1))
    second = tuning("two", {(1, 0, 0): 30.0, (1, 0, 2): 40.0}, (1, 0, 0))
    tunings = ("--tunings", f"speech:{first}", f"text:{second}")
    done = run_main("plot_tuning", *tunings, "--output", tmp_path / "t.png")
    assert done.returncode == 0, done.stderr
    one, two, strip = drawn[0].axes
    assert one.get_title() == "speech, blank score 1"
    assert [t.get_text() for t in one.get_xticklabels()] == ["1", "2", "3", "9", "10"]
    cells = {(round(t.get_position()[0]), round(t.get_position()[1])): t for t in one.texts}
    assert cells[1, 1].get_text() == "20.0" and cells[0, 0].get_text() == "18.0"
    frame = one.get_lines()[0].get_xydata()
    assert frame.mean(0).round() == pytest.approx([1, 1]) and len(cells) == 8
    assert [t.get_text() for t in two.texts] == ["30.0"]
    assert [list(line.get_ydata()) for line in strip.get_lines()] == [
        [20, 33.3], [20], [30, 40], [30],
    ]  # fmt: skip
    assert read_about(tmp_path / "t.png").title == "Weights of decoding, tuned on dev"


def test_what_cannot_be_drawn(tuning):
    given = tuning("given", {}, (1, 0, 0))
    with pytest.raises(ValueError, match=r"has 0 points: .* given, or as dev has too few words"):
        read_tried(given)
    odd = tuning("odd", {(1, 0, 0): "x"}, (1, 0, 0))
    with pytest.raises(ValueError, match=r"grid\.tsv:2: numbers expected in the columns lm_weight"):
        read_tried(odd)
    (odd / "grid.tsv").write_text("a\tb\n1\t2\n")
    with pytest.raises(ValueError, match=r"grid\.tsv:2: numbers expected .*'lm_weight'"):
        read_tried(odd)
    (odd / "grid.tsv").unlink()
    with pytest.raises(ValueError, match=r"grid\.tsv .*make it again"):
        read_tried(odd)
