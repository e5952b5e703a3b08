"""What a task's data must be to be learned."""

import pytest

from speechlm.data.kaldi_dir import DataDir
from speechlm.data.report import Report
from speechlm.data.task_data import TaskData
from speechlm.superb.corpora import check_classes, check_sets, in_phones


def task(rows: dict[str, tuple[str, str]]) -> TaskData:
    """{utterance: (set, label)} as the data of a task."""
    data = DataDir({u: f"{u}.wav" for u in rows}, {u: u for u in rows})
    sets = {u: group for u, (group, _) in rows.items()}
    return TaskData(data, sets, {u: label for u, (_, label) in rows.items()})


def test_a_class_that_train_lacks_is_refused_with_its_utterances():
    rows = {"a": ("train", "yes"), "b": ("dev", "yes"), "c": ("test", "maybe")}
    with pytest.raises(ValueError, match=r"1 utterances have others: c \(maybe\)"):
        check_classes(task(rows), Report())


def test_a_class_with_one_example_is_noted():
    rows = {"a": ("train", "yes"), "b": ("train", "no"), "c": ("train", "no")}
    rows |= {"d": ("dev", "yes"), "e": ("test", "no")}
    report = Report()
    check_classes(task(rows), report)
    assert [(i.kind, i.utterance, i.detail) for i in report.items] == [
        ("class with one example", "a", "yes")
    ]


def test_a_missing_set_is_named():
    with pytest.raises(ValueError, match="the set 'test' expected"):
        check_classes(task({"a": ("train", "yes"), "b": ("dev", "yes")}), Report())


def test_phones_of_known_and_unknown_words():
    spoken = in_phones(
        task({"a": ("train", "THE CAT"), "b": ("dev", "XYLOPHOBIC"), "c": ("test", "")})
    )
    assert spoken.labels["a"] == "DH AH0 K AE1 T"
    assert len(spoken.labels["b"].split()) > 5 and spoken.labels["c"] == ""


@pytest.mark.parametrize(
    ("kind", "groups", "absent"),
    [
        ("pr", ("train", "test"), "dev"),
        ("qbe", ("dev", "test", "train"), "doc"),
        ("er", ("1", "2", "3", "5"), "4"),
        ("asv", ("train", "dev", "test"), "trials of the set 'dev'"),
    ],
)
def test_what_a_task_lacks_is_named(kind, groups, absent):
    data = task({f"u{n}": (group, "x") for n, group in enumerate(groups)})
    with pytest.raises(ValueError, match=f"place: {kind}: .*{absent}"):
        check_sets(kind, data, "place")
