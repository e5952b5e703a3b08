"""The main `score`: all its files, from files as a decoding leaves them."""

import json

import pytest

from speechlm.data.kaldi_dir import write_table
from speechlm.decode.hypotheses import SearchReport
from speechlm.score.compare import read_result

REFERENCES = {"a-1|x": "THE CAT SAT", "a-2*": "ON THE MAT", "b-1": ""}
HYPOTHESES = {"a-1|x": "THE BAT SAT", "a-2*": "ON MAT", "b-1": "UH"}
NBEST = """\
id	rank	total	acoustic	ngram	neural	words	text
a-1|x	1	-1	-1	0		3	THE BAT SAT
a-1|x	2	-2	-2	0		3	THE CAT SAT
a-2*	1	-1	-1	0		2	ON MAT
b-1	1	-1	-1	0		1	UH
"""
SEARCH = SearchReport(
    "graph",
    "ngram",
    {"lm_weight": 2.0, "word_score": -1.0},
    utterances=3,
    audio_seconds=10.0,
    search_seconds=0.012,
    unfinished=["a-2*"],
)


@pytest.fixture
def decoded(tmp_path):
    """A data directory and a decoding."""
    write_table(tmp_path / "data" / "text", REFERENCES)
    write_table(tmp_path / "data" / "utt2spk", {"a-1|x": "a", "a-2*": "a", "b-1": "b"})
    write_table(tmp_path / "text", HYPOTHESES)
    (tmp_path / "nbest.tsv").write_text(NBEST)
    SEARCH.write(tmp_path)
    (tmp_path / "words.txt").write_text("<eps> 0\nBAT 1\nCAT 2\nON 3\nSAT 4\nTHE 5\n#0 6\n")
    return tmp_path


PLAIN = ("--ref", "data/text", "--hyp", "text", "--name", "te|st", "--output", "score")
ALL = (*PLAIN, "--nbest", "nbest.tsv", "--search", "search.json", "--lexicon", "words.txt")


def test_all_files_of_a_decoding(run_main, decoded):
    done = run_main("score", *ALL, cwd=decoded)
    assert done.returncode == 0, done.stderr
    assert "WER 50.00 %" in done.stderr and "1 empty references: b-1" in done.stderr
    folder = decoded / "score"
    figures = json.loads((folder / "scores.json").read_text())
    assert figures["WER"]["tokens"] == 6 and figures["WER"]["deletions"] == 1
    assert SearchReport(**figures["search"]) == SEARCH
    assert figures["oracle"]["errors"] == {"1": 3, "all": 2}
    assert (figures["OOV"]["unknown"], figures["OOV"]["lexicon_words"]) == (1, 5)
    assert (folder / "oov.tsv").read_text() == "word\tcount\nMAT\t1\n"
    assert "substitution\tCAT\tBAT\t1\n" in (folder / "ops.tsv").read_text()
    speakers = (folder / "per_spk.tsv").read_text().splitlines()
    assert [line.split("\t")[:3] for line in speakers[1:]] == [["a", "2", "6"], ["b", "1", "0"]]
    alignments = (folder / "alignments.txt").read_text()
    assert "id: (a-2*)\nScores: (#C #S #D #I) 2 0 1 0\nREF:  on THE mat\n" in alignments
    assert alignments.startswith("Speaker sentences   0:  a   #utts: 2\n")
    row = "a-1|x\tTHE CAT SAT\tTHE BAT SAT\t2\t1\t0\t0"
    assert row in (folder / "sentences.tsv").read_text().splitlines()
    assert read_result(folder, None, None).sentences["a-2*"].hypothesis == "ON MAT"
    text = (folder / "result.md").read_text()
    for wanted in (
        "|te\\|st|3|6|",
        "weights: lm 2, word -1",
        "no final state: 1 (a-2*)",
        "|all|33.3|1|",
        "(16.7 %), 1 different ones",
        "|CAT|BAT|1|1|",
        "|a|2|6|",
    ):
        assert wanted in text


def test_what_was_not_given_is_not_in_the_folder(run_main, decoded):
    assert run_main("score", *ALL, cwd=decoded).returncode == 0
    (decoded / "data" / "utt2spk").unlink()
    done = run_main("score", *PLAIN, cwd=decoded)
    assert done.returncode == 0 and "held other files" not in done.stderr
    names = {path.name for path in (decoded / "score").iterdir()}
    assert names == {"scores.json", "result.md", "sentences.tsv", "alignments.txt", "ops.tsv"}
    figures = json.loads((decoded / "score" / "scores.json").read_text())
    assert figures.keys() == {"WER", "CER"}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("nbest.tsv", NBEST + "zz\t1\t0\t0\t0\t\t1\tA\n", "zz is not among the references"),
        ("search.json", "{}", "search.json: search, lm, weights"),
        ("words.txt", "", "words.txt has no word"),
        ("data/utt2spk", "a-1|x a\n", "none for 2: a-2"),
        ("text", "a-1|x THE\n", "2 not recognised"),
    ],
)
def test_files_of_other_decodings_are_refused(run_main, decoded, file, content, message):
    (decoded / file).write_text(content)
    done = run_main("score", *ALL, cwd=decoded)
    assert done.returncode == 1 and message in done.stderr
    assert not (decoded / "score").exists()


def test_a_lexicon_in_another_case_is_pointed_out(run_main, decoded):
    (decoded / "words.txt").write_text("the\ncat\nSAT\n")
    done = run_main("score", *ALL, cwd=decoded)
    assert "3 of 5 words that words.txt lacks are in it in another case" in done.stderr
