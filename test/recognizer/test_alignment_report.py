"""Figures on hand-made TextGrids."""

import numpy as np
import pytest

from speechlm.data.archives import ArchiveWriter, write_unit_info
from speechlm.data.vocabulary import PHONES, phone_id
from speechlm.score.alignment import Report, Segment, fold, read_textgrid, report_units

GRID = """File type = "ooTextFile"
Object class = "TextGrid"
xmin = 0.0
xmax = 0.6
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0.0
        xmax = 0.6
        intervals: size = 1
            intervals [1]:
                xmin = 0.0
                xmax = 0.6
                text = "at"
    item [2]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0.0
        xmax = 0.6
        intervals: size = 4
            intervals [1]:
                xmin = 0.0
                xmax = 0.1
                text = "sil"
            intervals [2]:
                xmin = 0.1
                xmax = 0.3
                text = "AE1"
            intervals [3]:
                xmin = 0.3
                xmax = 0.5
                text = "T"
            intervals [4]:
                xmin = 0.5
                xmax = 0.6
                text = "sp"
"""
REFERENCE = [("SIL", 0.0, 0.1), ("AE", 0.1, 0.3), ("T", 0.3, 0.5), ("SIL", 0.5, 0.6)]


def labels(*runs):
    return np.repeat([phone_id[name] for name, _ in runs], [count for _, count in runs])


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "grids" / "s1" / "u1.TextGrid"
    path.parent.mkdir(parents=True)
    path.write_text(GRID)
    return path


def test_textgrid_is_read_and_folded(grid):
    found = [(s.phone, s.start, s.end) for s in read_textgrid(grid)]
    assert found == REFERENCE
    with pytest.raises(ValueError, match="tier called 'syllables'"):
        read_textgrid(grid, "syllables")


def figures(grid, *runs):
    report = Report()
    report.add(read_textgrid(grid), labels(*runs))
    return report.figures()


def test_perfect_labels(grid):
    # label i is compared with the reference at 10 i + 12.5 ms: one frame of 10 ms earlier
    found = figures(grid, ("SIL", 9), ("AE1_B", 20), ("T_E", 20), ("SIL", 9))
    assert found["frame_agreement"] == 100.0
    assert found["boundary_median_ms"] == pytest.approx(0.0, abs=1e-6)
    assert found["boundary_within_20_ms"] == 100.0
    assert found["phone_error_rate"] == 0.0


def test_shifted_boundary_and_wrong_phone(grid):
    # the boundary AE|T is three frames late: 3 of 58 frames, 1 of 3 boundaries by 30 ms
    found = figures(grid, ("SIL", 9), ("AE1_B", 23), ("T_E", 17), ("SIL", 9))
    assert found["frame_agreement"] == pytest.approx(100 * 55 / 58)
    assert found["boundary_within_20_ms"] == pytest.approx(100 * 2 / 3)
    # a substitution and an insertion for two phones
    found = figures(grid, ("SIL", 9), ("EH1_B", 20), ("T_I", 10), ("S_E", 10), ("SIL", 9))
    assert (found["substitutions"], found["insertions"], found["deletions"]) == (1, 1, 0)
    assert found["phone_error_rate"] == 100.0


def test_same_phone_twice_in_a_row_counts_twice():
    report = Report()
    reference = [Segment(0.0, 0.1, "Z"), Segment(0.1, 0.2, "Z"), Segment(0.2, 0.3, "SIL")]
    report.add(reference, labels(("Z_E", 9), ("Z_B", 10), ("SIL", 10)))
    assert report.figures()["phone_error_rate"] == 0.0


def test_folding():
    assert [fold(p) for p in ("AH0_B", "sp", "spn", "", "SPN_S", "ZH")] == [
        "AH",
        "SIL",
        "SIL",
        "SIL",
        "SIL",
        "ZH",
    ]


def test_archives_and_a_folder_of_textgrids(run_main, grid, tmp_path):
    folder = tmp_path / "units"
    folder.mkdir()
    with ArchiveWriter(folder, "units", 1) as writer:
        writer.write("u1", labels(("SIL", 9), ("AE1_B", 20), ("T_E", 20), ("SIL", 9)))
    (folder / "units.1.scp").rename(folder / "units.scp")
    write_unit_info(folder, 0.01, PHONES)
    assert report_units(folder, tmp_path / "grids")["frame_agreement"] == 100.0
    output = tmp_path / "report.md"
    words = ("--textgrids", tmp_path / "grids", "--output", output, "--units")
    printed = run_main("alignment_report", *words, f"right:{folder}", f"again:{folder}").stdout
    assert printed == output.read_text()
    assert "|right|1|100.0|100.0|100.0|0.0|0.0|" in printed and "|again|" in printed
    assert "NAME:DIR expected" in run_main("alignment_report", *words, folder).stderr
    grid.rename(grid.with_name("other.TextGrid"))
    with pytest.raises(ValueError, match="none of the 1 utterances"):
        report_units(folder, tmp_path / "grids")
