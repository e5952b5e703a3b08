"""Confusions against ones counted by hand."""

from speechlm.score.confusions import confusion_tables, operations, write_operations
from speechlm.score.error_rate import error_rates

REFERENCES = {"a": "THE CAT SAT", "b": "THE CAT", "c": "A|B SAT", "d": ""}
HYPOTHESES = {"a": "THE BAT SAT", "b": "THE BAT", "c": "A|B", "d": "UH"}


def test_operations_are_counted_and_sorted(tmp_path):
    counts = operations(error_rates(REFERENCES, HYPOTHESES))
    write_operations(counts, tmp_path / "ops")
    assert (tmp_path / "ops").read_text().splitlines() == [
        "operation\treference\thypothesis\tcount",
        "correct\tTHE\tTHE\t2",
        "correct\tA|B\tA|B\t1",
        "correct\tSAT\tSAT\t1",
        "substitution\tCAT\tBAT\t2",
        "deletion\tSAT\t***\t1",
        "insertion\t***\tUH\t1",
    ]


def test_tables_have_the_most_frequent_ones_of_how_many():
    text = confusion_tables(operations(error_rates(REFERENCES, HYPOTHESES)), 20)
    assert "Confusion pairs (2)" in text and "|CAT|BAT|2|2|" in text
    assert "Words deleted (1)" in text and "|SAT|1|2|" in text
    assert "Words inserted (1)" in text and "|UH|1|" in text


def test_tables_are_cut_where_asked_and_left_out_where_empty():
    rates = error_rates({"a": "A B A", "b": "C"}, {"a": "X Y X", "b": "C"})
    text = confusion_tables(operations(rates), 1)
    assert "Confusion pairs (3)" in text and "|A|X|2|2|" in text and "|B|" not in text
    assert text.endswith("Words deleted (0)\n\n\nWords inserted (0)\n\n")


def test_words_of_markup_do_not_break_the_table():
    text = confusion_tables(operations(error_rates({"a": "A|B"}, {"a": "<unk>"})), 5)
    assert "|A\\|B|\\<unk>|1|1|" in text
