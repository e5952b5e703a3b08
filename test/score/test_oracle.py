"""The oracle of n-best lists, counted by hand and against a slow definition."""

import random

import pytest

from speechlm.score.error_rate import error_rates
from speechlm.score.oracle import Oracle, oracle_table, read_oracle

HEADER = "id\trank\ttotal\tacoustic\tngram\tneural\twords\ttext"


def write(path, lists, header=HEADER):
    """Lists of sentences by utterance."""
    lines = [header]
    for utterance, sentences in lists.items():
        for rank, text in enumerate(sentences, 1):
            lines.append(f"{utterance}\t{rank}\t-1.5\t-1\t-0.5\t\t{len(text.split())}\t{text}")
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_the_best_of_each_list_is_taken(tmp_path):
    lists = {
        "a": ["THE BAT", "THE CAT", "A CAT"],  # 1, 0, 1 errors
        "b": ["YES YES", "YES", "YES"],  # 1, 0, 0
        "c": ["NO"],  # 1
        "d": [],  # 1, nothing was written
    }
    references = {"a": "THE CAT", "b": "YES", "c": "NOW", "d": "WELL"}
    hypotheses = {"a": "THE BAT", "b": "YES YES", "c": "NOT", "d": ""}
    path = write(tmp_path / "nbest.tsv", lists)
    oracle = read_oracle(path, references, hypotheses)
    assert oracle == Oracle(
        utterances=4,
        tokens=5,
        entries=7,
        without=1,
        other_first=1,
        errors={"1": 4, "2": 2, "all": 2},
        ranks={"1": 1, "2": 2},
    )
    assert oracle.rate == 40.0
    text = oracle_table(oracle)
    assert "|1|80.0|1|\n|2|40.0|2|\n|all|40.0|0|" in text
    assert "(1.8 entries an utterance, none for 1 utterances; the first entry is another" in text


def sentence(draw, most=6):
    return " ".join(draw.choice("ABC") for _ in range(draw.randrange(most)))


@pytest.mark.parametrize("seed", range(20))
def test_more_entries_never_make_it_worse(tmp_path, seed):
    draw = random.Random(seed)
    names = [f"u{i:02d}" for i in range(12)]
    references = {u: sentence(draw) or "A" for u in names}
    lists = {u: [sentence(draw) for _ in range(draw.randrange(1, 30))] for u in names}
    hypotheses = {u: lists[u][0] for u in names}
    oracle = read_oracle(write(tmp_path / "nbest.tsv", lists), references, hypotheses)
    first = error_rates(references, hypotheses).words.errors
    assert oracle.errors["1"] == first and oracle.other_first == 0
    values = list(oracle.errors.values())
    assert values == sorted(values, reverse=True)
    for depth, errors in oracle.errors.items():
        most = None if depth == "all" else int(depth)
        each = (
            min(error_rates({u: references[u]}, {u: x}).words.errors for x in lists[u][:most])
            for u in names
        )
        assert errors == sum(each)
    assert sum(oracle.ranks.values()) == len(names)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "a first line of id rank"),
        ("id\trank\ttext\na\t1\tA\n", "a first line of id rank total"),
        (f"{HEADER}\na\t1\t0\t0\t0\n", ":2: 8 fields expected, got 5"),
        (f"{HEADER}\nz\t1\t0\t0\t0\t\t1\tA\n", ":2: z is not among the references"),
        (f"{HEADER}\na\t2\t0\t0\t0\t\t1\tA\n", ":2: rank 1 of a expected, got 2"),
        (f"{HEADER}\na\tx\t0\t0\t0\t\t1\tA\n", ":2: rank 1 of a expected, got x"),
        (f"{HEADER}\n" + 2 * "a\t1\t0\t0\t0\t\t1\tA\n", ":3: rank 2 of a expected, got 1"),
        (f"{HEADER}\na\t1\t0\t0\t0\t\t1\tA\n", "none for 1: b"),
    ],
)
def test_damaged_lists_are_named(tmp_path, content, message):
    path = tmp_path / "nbest.tsv"
    path.write_text(content)
    with pytest.raises(ValueError, match=f"nbest.tsv.*{message}.*decode again"):
        read_oracle(path, {"a": "A", "b": "B"}, {"a": "A", "b": "B"})


def test_empty_entries_and_ids_with_odd_characters(tmp_path):
    name = "x|y*\u00e9#1"
    path = write(tmp_path / "nbest.tsv", {name: ["", "A"]})
    oracle = read_oracle(path, {name: "A"}, {name: ""})
    assert oracle.errors == {"1": 1, "all": 0} and oracle.other_first == 0
