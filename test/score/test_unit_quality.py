"""Purities and PNMI: by hand, against scikit-learn, from alignments and TextGrids."""

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from speechlm.bin import unit_quality as main_module
from speechlm.data.archives import ArchiveWriter, merge_archives, write_unit_info
from speechlm.score.unit_quality import (
    Alignments,
    TextGrids,
    UnitCounts,
    count_units,
    phone_purity,
    pnmi,
    quality_table,
)


def write(folder, arrays, shift, tokens):
    with ArchiveWriter(folder) as writer:
        for name, labels in arrays.items():
            writer.write(name, np.asarray(labels))
    merge_archives(folder, 1)
    write_unit_info(folder, shift, tokens)
    return folder


def textgrid(path, segments):
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "item []:", "    item [1]:"]
    lines += [
        '        class = "IntervalTier"',
        '        name = "phones"',
        "        intervals: size",
    ]
    for i, (start, end, phone) in enumerate(segments, 1):
        lines += [f"        intervals [{i}]:", f"            xmin = {start}"]
        lines += [f"            xmax = {end}", f'            text = "{phone}"']
    path.write_text("\n".join(lines) + "\n")


def test_by_hand():
    """Two phones, three clusters: 8 frames."""
    counts = np.array([[3, 1, 0], [1, 0, 3]])
    assert phone_purity(counts) == (3 + 1 + 3) / 8
    assert phone_purity(counts.T) == (3 + 3) / 8
    joint = counts / 8
    entropy = np.log(2)
    conditional = -(4 / 8) * (0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert joint.sum() == 1
    assert pnmi(counts) == pytest.approx((entropy - conditional) / entropy)


def test_limits():
    assert pnmi(np.eye(5) * 7) == pytest.approx(1)
    assert pnmi(np.outer([1, 2, 3], [4, 5])) == pytest.approx(0, abs=1e-12)
    assert np.isnan(pnmi(np.array([[3, 4]]))) and phone_purity(np.eye(4)) == 1


def test_against_scikit_learn():
    random = np.random.default_rng(0)
    phones = random.integers(0, 9, 4000)
    units = (phones + random.integers(0, 4, 4000)) % 12
    counts = np.zeros((9, 12))
    np.add.at(counts, (phones, units), 1)
    assert pnmi(counts) == pytest.approx(
        mutual_info_score(phones, units) / mutual_info_score(phones, phones)
    )


def test_units_are_compared_with_the_label_of_their_window(tmp_path):
    """Unit t has the window of label 2 t."""
    phones = ["SIL", "AH0_B", "AH1_E", "S_S"]
    labels = [0, 3, 1, 3, 2, 3, 0, 3, 1]
    write(tmp_path / "align", {"a": labels, "b": [3, 3, 3]}, 0.01, phones)
    write(tmp_path / "units", {"a": [2, 0, 0, 2, 1], "b": [1, 1], "c": [0]}, 0.02, ["0", "1", "2"])
    counts = count_units(tmp_path / "units", Alignments(tmp_path / "align"))
    assert counts.phones == ["AH", "S", "SIL"] and counts.utterances == 2
    assert counts.counts.tolist() == [[2, 1, 0], [0, 2, 0], [0, 0, 2]]
    figures = counts.figures()
    assert (figures["frames"], figures["clusters"], figures["used"]) == (7, 3, 3)
    assert figures["phone_purity"] == pytest.approx(6 / 7)
    assert figures["pnmi_speech"] == pytest.approx(pnmi(np.array([[2, 1], [0, 2]])))


def test_a_unit_of_40_ms_is_named_by_its_third_label(tmp_path):
    segments = [(0, 0.035, "sil"), (0.035, 0.075, "AH0"), (0.075, 0.2, "S")]
    textgrid(tmp_path / "a.TextGrid", segments)
    assert TextGrids(tmp_path).phones("a", 3, 0.04).tolist() == ["SIL", "AH", "S"]
    labels = {"a": [0, 0, 1, 0, 2, 2, 0, 2, 1, 1, 2]}
    write(tmp_path / "align", labels, 0.01, ["SIL", "AH0_B", "S_S"])
    found = Alignments(tmp_path / "align").phones("a", 3, 0.04)
    assert found.tolist() == ["AH", "SIL", "S"]


def test_textgrids_name_the_phone_in_the_middle_of_the_window(tmp_path):
    """Windows are centred on 12.5, 32.5, 52.5, 72.5 ms."""
    segments = [(0, 0.03, "sil"), (0.03, 0.06, "AH0"), (0.06, 0.07, "S")]
    (tmp_path / "deep").mkdir()
    textgrid(tmp_path / "deep" / "a.TextGrid", segments)
    write(tmp_path / "units", {"a": [0, 1, 1, 0]}, 0.02, ["0", "1"])
    grids = TextGrids(tmp_path)
    assert grids.phones("a", 4, 0.02).tolist() == ["SIL", "AH", "AH", "SIL"]
    assert count_units(tmp_path / "units", grids).figures()["pnmi"] == pytest.approx(1)


def test_what_does_not_fit(tmp_path):
    write(tmp_path / "align", {"a": [0] * 9, "b": [0] * 9}, 0.01, ["SIL"])
    reference = Alignments(tmp_path / "align")
    write(tmp_path / "u", {"a": [0] * 4, "b": [0] * 6}, 0.02, ["0"])
    assert count_units(tmp_path / "u", reference).counts.sum() == 4 + 5
    write(tmp_path / "u", {"a": [0] * 3, "b": [0] * 7}, 0.02, ["0"])
    with pytest.raises(
        ValueError, match="2 utterances: a: 3 units, but 5 expected of the 9 .*; b: 7"
    ):
        count_units(tmp_path / "u", reference)
    write(tmp_path / "u", {"x": [0] * 5}, 0.02, ["0"])
    with pytest.raises(ValueError, match="has none of the 1 utterances"):
        count_units(tmp_path / "u", reference)
    write(tmp_path / "u", {"a": [0, 1, 0, 0, 0]}, 0.02, ["0"])
    with pytest.raises(ValueError, match=r"labels 0\.\.0 expected of a, found 0\.\.1"):
        count_units(tmp_path / "u", reference)
    write(tmp_path / "u", {"a": [0] * 5}, 0.015, ["0"])
    with pytest.raises(ValueError, match="each 0.01 s cannot be compared with units each 0.015"):
        count_units(tmp_path / "u", reference)


def test_main(tmp_path, capsys, monkeypatch):
    write(tmp_path / "align", {"a": [0, 0, 1, 1, 1]}, 0.01, ["SIL", "S_B"])
    textgrid(tmp_path / "a.TextGrid", [(0, 0.025, "sil"), (0.025, 0.07, "S")])
    for name in ("mfcc", "layer6"):
        write(tmp_path / name, {"a": [0, 1, 1]}, 0.02, ["0", "1"])
    monkeypatch.chdir(tmp_path)
    command = ["unit_quality", "--units", "one:mfcc", "two:layer6", "--alignments", "align"]
    command += ["--textgrids", ".", "--output", "out"]
    monkeypatch.setattr("sys.argv", command)
    main_module.main()
    table = capsys.readouterr().out
    assert (tmp_path / "out" / "units.md").read_text() == table
    assert table.splitlines()[2] == "|one|alignments|1|3|2|2|1.000|1.000|1.000|nan|"
    assert len(table.splitlines()) == 6
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["units.md"]
    monkeypatch.setattr("sys.argv", command[:4])
    with pytest.raises(ValueError, match="--alignments or --textgrids expected"):
        main_module.main()
    assert "nan" in quality_table([("x", "y", UnitCounts(["S"], np.array([[1]]), 1))])
