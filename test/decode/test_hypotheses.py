"""Files of a decoding: written, read back, joined."""

import pytest

from speechlm.decode.hypotheses import (
    COLUMNS,
    SearchReport,
    Sentence,
    merge_hypotheses,
    read_nbest,
    write_hypotheses,
    write_nbest,
)

LISTS = {
    "b-1": [Sentence("SO IT IS", -3.25, -2.0, -1.5), Sentence("", -4.0, -4.0, -0.5, -2.5)],
    "a 2".replace(" ", "-"): [Sentence("IT", -1.0, -0.5, None)],
}


def test_nbest_lists_come_back(tmp_path):
    write_nbest(tmp_path / "nbest.tsv", LISTS)
    lines = (tmp_path / "nbest.tsv").read_text().splitlines()
    assert lines[0].split("\t") == list(COLUMNS)
    assert lines[1:3] == [
        "a-2\t1\t-1.0000\t-0.5000\t\t\t1\tIT",
        "b-1\t1\t-3.2500\t-2.0000\t-1.5000\t\t3\tSO IT IS",
    ]
    assert read_nbest(tmp_path / "nbest.tsv") == LISTS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id rank\n", "a first line of id rank total"),
        ("\t".join(COLUMNS) + "\nu\t1\t-1\t-1\t\t\t1\n", r"nbest.tsv:2: id rank total .* expected"),
        ("\t".join(COLUMNS) + "\nu\t1\t-1\tx\t\t\t1\tA\n", r"nbest.tsv:2: "),
        ("\t".join(COLUMNS) + "\nu\t1\t\t-1\t\t\t1\tA\n", r"nbest.tsv:2: "),
        ("\t".join(COLUMNS) + "\nu\t1\t-1\t-1\t\t\t2\tA\n", r"nbest.tsv:2: "),
        ("\t".join(COLUMNS) + "\nu\t2\t-1\t-1\t\t\t1\tA\n", "nbest.tsv:2: rank 1 of u expected"),
        ("\t".join(COLUMNS) + "\nu\t1\tnan\t-1\t\t\t1\tA\n", r"nbest.tsv:2: .* finite scores"),
        ("\t".join(COLUMNS) + "\nu\t1\t-1\t-1\tinf\t\t1\tA\n", r"nbest.tsv:2: "),
        ("\t".join(COLUMNS) + "\nu\t1\t-1\t-1\t\t\t3\tA B\n", r"nbest.tsv:2: .* number of words"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    (tmp_path / "nbest.tsv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_nbest(tmp_path / "nbest.tsv")


def job(folder, ids, **more):
    write_hypotheses(folder / "text", dict.fromkeys(ids, "A B"))
    write_nbest(folder / "nbest.tsv", {u: [Sentence("A B", -1.0, -0.5, -0.25)] for u in ids})
    values = {"search": "graph", "weights": {"lm_weight": 2.0}, "utterances": len(ids)} | more
    SearchReport(**values, audio_seconds=10.0, search_seconds=0.5, unfinished=ids[:1]).write(folder)


def test_jobs_are_joined(tmp_path):
    job(tmp_path / "1", ["c", "a"])
    job(tmp_path / "2", ["b"])
    merge_hypotheses([str(tmp_path / "1"), str(tmp_path / "2")], tmp_path)
    assert (tmp_path / "text").read_text() == "a A B\nb A B\nc A B\n"
    assert list(read_nbest(tmp_path / "nbest.tsv")) == ["a", "b", "c"]
    report = SearchReport.read(tmp_path)
    assert (report.utterances, report.audio_seconds, report.search_seconds) == (3, 20.0, 1.0)
    assert report.unfinished == ["c", "b"] and report.real_time_factor == 0.05


def test_jobs_of_two_decodings_are_not_joined(tmp_path):
    job(tmp_path / "1", ["a"])
    job(tmp_path / "2", ["b"], weights={"lm_weight": 3.0})
    with pytest.raises(ValueError, match="jobs of different decodings: weights is"):
        merge_hypotheses([str(tmp_path / "1"), str(tmp_path / "2")], tmp_path)


def test_a_missing_report_says_who_makes_it(tmp_path):
    with pytest.raises(ValueError, match="decode_ctc makes it"):
        SearchReport.read(tmp_path)
    (tmp_path / "search.json").write_text('{"search": "graph"}')
    with pytest.raises(ValueError, match="search.json: lm, weights, .* expected; decode again"):
        SearchReport.read(tmp_path)
