"""Reports of any number of items: they are the same when most of them are on disk."""

import pytest

from speechlm.data import report_items
from speechlm.data.report import Refused, Report


def filled(n: int = 25) -> Report:
    report = Report()
    for i in range(n):
        report.leave_out("no audio" if i % 5 else "no speaker", f"ü-{i // 2}", "a\tb", "x\n\ud800")
        report.filter("too short", f"s-{i}", "p", "")
    return report


@pytest.fixture
def stored(monkeypatch, tmp_path):
    """A report like another one, whose items are on disk but for a few."""
    whole = filled()
    monkeypatch.setattr(report_items, "_HELD", 7)
    monkeypatch.setattr(report_items, "_BLOCK", 10)
    return whole, filled()


def test_items_on_disk_are_like_those_in_memory(stored, tmp_path):
    whole, report = stored
    assert report == whole and whole == report and len(report.items) == 50
    assert report.items != filled(24).items and report.items == list(whole.items)
    assert report.items[:3] == list(whole.items)[:3] and report.items[20] == whole.items[20]
    assert report.items[-1] == whole.items[-1] and report.items[-3:] == list(whole.items)[-3:]
    with pytest.raises(IndexError):
        report.items[50]
    assert report.counts() == whole.counts() and report.ids_left_out() == whole.ids_left_out()
    report.write(tmp_path / "report")
    assert Report.read(tmp_path / "report") == whole
    report.items += report.items[:3]
    assert len(report.items) == 53


def test_what_is_wrong_is_counted_by_utterances_and_shown_by_turns(stored):
    for report in stored:
        with pytest.raises(Refused, match="t: 13 of 48 utterances are wrong") as refused:
            report.check_share(10, 0.1, "t")
        shown = [line.split()[0] for line in str(refused.value).splitlines()[1:]]
        assert shown == ["ü-0", "ü-0", "ü-1", "ü-2", "ü-1"]
    report.check_share(10, 0.5, "t")
