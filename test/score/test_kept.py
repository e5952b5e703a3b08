"""Results of other runs in a report."""

import pytest

from speechlm.score.kept import COLUMNS, read_kept
from speechlm.score.report import read_scores

HEAD = "\t".join(COLUMNS)
ROW = ("paper's model", "ngram", "test", "2", "3", "32.2", "19.3", "216106b", "./run.sh --nj '2'")


def write(folder, *rows, head=HEAD):
    path = folder / "kept.tsv"
    path.write_text("# a comment\n\n" + "".join(f"{line}\n" for line in (head, *rows)))
    return path


def row(**changes):
    return "\t".join(
        ({**dict(zip(COLUMNS, ROW, strict=True)), **changes})[name] for name in COLUMNS
    )


def test_columns_in_any_order(tmp_path):
    (kept,) = read_kept(write(tmp_path, row()))
    order = sorted(COLUMNS)
    values = dict(zip(COLUMNS, ROW, strict=True))
    turned = write(tmp_path, "\t".join(values[n] for n in order), head="\t".join(order))
    assert read_kept(turned) == [kept]
    assert kept.rates == {"WER": 32.2, "CER": 19.3} and (kept.sentences, kept.words) == (2, 3)
    assert kept.label == "paper's model (kept result of 216106b, not from this run)"


@pytest.mark.parametrize(
    ("rows", "head", "message"),
    [
        ([], "# nothing", "no line; a table with the columns system, "),
        ([row()], HEAD.replace("CER", "CEr"), ":3: no column 'CEr'; the nearest known one is CER"),
        ([row()], HEAD + "\tWER", ":3: the columns system, .* each once"),
        ([row()], HEAD.replace("\tcommit", ""), ":3: the columns system, .* each once"),
        ([row() + "\tmore"], HEAD, ":4: 9 cells with something in them expected"),
        ([row(commit=" ")], HEAD, ":4: 9 cells with something in them expected"),
        ([row(WER="nan")], HEAD, ":4: WER: a number such as 12.5 expected, got 'nan'"),
        ([row(CER="-1")], HEAD, ":4: CER: a number such"),
        ([row(sentences="2.5")], HEAD, ":4: sentences: a whole number expected, got '2.5'"),
        ([row(words="many")], HEAD, ":4: words: a whole number expected"),
        ([row(), row(decoder="greedy"), row(WER="1")], HEAD, ":6: the same result as in line 4"),
    ],
)
def test_other_tables_are_refused(tmp_path, rows, head, message):
    with pytest.raises(ValueError, match=message):
        read_kept(write(tmp_path, *rows, head=head))


@pytest.fixture
def scores(run_main, tmp_path):
    """A folder with scores of two sentences of three words, one of which is wrong."""
    (tmp_path / "ref").write_text("u1 A B\nu2 C\n")
    (tmp_path / "hyp").write_text("u1 A B\nu2\n")
    words = ("--ref", "ref", "--hyp", "hyp", "--name", "test", "--output", "out")
    assert run_main("score", *words, cwd=tmp_path).returncode == 0
    assert read_scores(tmp_path / "out")["WER"].tokens == 3
    return tmp_path


def test_kept_results_are_rows_of_their_own_and_nothing_else(scores, run_main):
    path = write(
        scores,
        row(),
        row(decoder="greedy", WER="82.5"),
        row(system="speech"),
        row(system="larger", sentences="200"),
        row(system="other", test="dev"),
    )
    words = ("--title", "T", "--command", "./run.sh", "--seed", 7, "--output", "R.md")
    words += ("--scores", "speech:greedy:test:out", "speech:ngram:test:out", "--kept", path.name)
    done = run_main("report", *words, cwd=scores)
    assert done.returncode == 0, done.stderr
    mark = "(kept result of 216106b, not from this run)"
    table = done.stdout.splitlines()
    assert table[0] == "|system|decoder|test WER|test CER|"
    assert table[2:] == [
        "|speech|greedy|33.3|25.0|",
        "|speech|ngram|33.3|25.0|",
        f"|paper's model {mark}|ngram|32.2|19.3|",
        f"|paper's model {mark}|greedy|82.5|19.3|",
        f"|speech {mark}|ngram|32.2|19.3|",
    ]
    text = (scores / "R.md").read_text()
    first, _, rest = text.partition("## Decoding of test")
    assert "kept result" in first and "kept result" not in rest
    assert f"- paper's model {mark}: `./run.sh --nj '2'` at `216106b`" in first
    other = "its test has 200 sentences of 3 words, this run's 2 of 3"
    assert f"- **not shown**: larger {mark}, ngram: {other}" in first
    assert f"- **not shown**: other {mark}, ngram: this run has no test set dev" in first
    plain = run_main("report", *words[:-2], cwd=scores)
    assert plain.returncode == 0 and plain.stdout.splitlines() == table[:4]
