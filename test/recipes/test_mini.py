"""Every stage of the mini recipe on a very small corpus; what is trained must have learned."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from speechlm.data.kaldi_dir import read_table
from speechlm.data.unit_index import check_units
from speechlm.data.unit_store import UnitStore
from speechlm.decode.hypotheses import SearchReport, read_nbest

CORPUS = (
    "--paired 120 --unpaired 80 --dev 15 --test 20 --text 3000"
    " --speakers 2,2,1,1 --min_snr 35 --max_snr 40"
)


def run_recipe(folder: Path, *words: str) -> str:
    """Run all stages, with further options; return what was printed to stderr."""
    result = subprocess.run(
        [
            "./run.sh",
            "--systems",
            "speech_text",
            "--data_opts",
            CORPUS,
            "--phone_model_args",
            "--max_epoch 5 --batch_bins 40000",
            "--pretrain_args",
            "--max_epoch 3 --num_iters_per_epoch 90 --batch_samples 110000",
            "--finetune_args",
            "--max_epoch 3 --num_iters_per_epoch 60 --batch_bins 160000",
            "--lm_args",
            "--max_epoch 1 --num_iters_per_epoch 60",
            "--paper_decoding",
            "true",
            *words,
        ],
        cwd=folder,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stderr


def epoch_values(log: Path, part: str, name: str) -> list[float]:
    """Return a statistic of each epoch from a training's log."""
    pattern = rf"epoch results: .*\[{part}\][^\[]*\b{name}=([0-9.e+-]+)"
    return [float(match[1]) for match in re.finditer(pattern, log.read_text())]


@pytest.fixture(scope="module")
def finished(copy_recipe, tmp_path_factory) -> tuple[Path, str]:
    """(folder of the recipe after all stages, what a second run says)."""
    folder = copy_recipe(tmp_path_factory.mktemp("mini"), "mini")
    run_recipe(folder)
    return folder, run_recipe(folder)


@pytest.mark.recipe
def test_pretraining_learns_from_speech_and_text(finished):
    log = finished[0] / "exp" / "pretrain_speech_text" / "train.log"
    learned = (
        ("train", "loss_middle"),
        ("train", "loss_top"),
        ("train", "loss_ctc"),
        ("valid", "loss_ctc"),
    )
    for part, name in learned:
        values = epoch_values(log, part, name)
        assert len(values) == 3 and values[-1] < 0.95 * values[0], (part, name, values)


@pytest.mark.recipe
def test_fine_tuning_learns_to_spell(finished):
    scores = json.loads(
        (
            finished[0] / "exp" / "asr_speech_text" / "decode_test" / "score" / "scores.json"
        ).read_text()
    )
    counts = scores["CER"]
    errors = counts["substitutions"] + counts["deletions"] + counts["insertions"]
    spoken = counts["correct"] + counts["substitutions"] + counts["deletions"]
    assert errors / spoken < 0.65, counts  # blanks alone: 1.0, the most frequent letters: 0.71


DECODERS = {"": "greedy", "_paper": "paper", "_ngram": "ngram", "_transformer": "transformer"}


@pytest.mark.recipe
def test_every_decoding_has_its_files_and_words_of_the_lexicon(finished):
    """Searches write whole words of the graph, weighted as tuned on dev, in the order of totals."""
    exp = finished[0] / "exp"
    words = {line.split()[0] for line in (exp / "decoding_graph" / "words.txt").open()}
    tuned = json.loads((exp / "asr_speech_text" / "tune_ngram" / "weights.json").read_text())
    for suffix in DECODERS:
        folder = exp / "asr_speech_text" / f"decode_test{suffix}"
        text = read_table(folder / "text", empty=True)
        assert len(text) == 20
        report = SearchReport.read(folder)
        assert report.utterances == 20 and report.search_seconds > 0
        if suffix:
            assert {word for line in text.values() for word in line.split()} <= words
    assert report.lm == "transformer" and "neural_weight" in report.weights
    ngram = exp / "asr_speech_text" / "decode_test_ngram"
    assert SearchReport.read(ngram).weights["lm_weight"] == tuned["lm_weight"]
    for suffix in ("_ngram", "_transformer"):
        lists = read_nbest(exp / "asr_speech_text" / f"decode_test{suffix}" / "nbest.tsv")
        for entries in lists.values():
            totals = [entry.total for entry in entries]
            assert totals == sorted(totals, reverse=True)
            assert len({entry.text for entry in entries}) == len(entries) <= 100
    assert max(map(len, lists.values())) > 10
    assert all(entry.neural is not None for entries in lists.values() for entry in entries)


@pytest.mark.recipe
def test_the_phone_recogniser_with_the_same_words_is_a_row(finished):
    """On these voices its words are mostly right already after this little training."""
    scores = finished[0] / "exp" / "hmm" / "decode_test_ngram" / "score" / "scores.json"
    counts = json.loads(scores.read_text())["WER"]
    assert counts["correct"] > counts["substitutions"] + counts["deletions"], counts


@pytest.mark.recipe
def test_a_second_run_does_nothing_again(finished):
    assert "done already" in finished[1] and ": starts" not in finished[1]


@pytest.mark.recipe
def test_the_report_has_the_system_and_the_times(finished):
    report = (finished[0] / "exp" / "RESULTS.md").read_text()
    for decoder in DECODERS.values():
        assert re.search(rf"^\|speech_text\|{decoder}\|", report, re.MULTILINE), decoder
    assert re.search(r"^\|HMM\|ngram\|", report, re.MULTILINE)
    others = r"\*\*not shown\*\*: paper's model.*: its test has 200 sentences"  # another corpus
    assert len(re.findall(others, report)) == 3 and "|paper's model" not in report
    assert re.search(r"^\| 10 \| \d+ \| \d+ \| .*pre-train speech_text", report, re.MULTILINE)


@pytest.mark.recipe
def test_the_report_shows_pictures_and_is_a_page(finished):
    exp = finished[0] / "exp"
    report, page = (exp / "RESULTS.md").read_text(), (exp / "RESULTS.html").read_text()
    names = set(re.findall(r"!\[[^]]*\]\(images/(\w+)\.png\)", report))
    assert names == {
        *("curves", "finetuning", "rates_test", "tuning", "units_phoneme", "durations_phoneme"),
        *("utterance_speech_text", "attention_speech_text"),
    }
    assert "Not drawn" not in report
    assert page.count('src="data:image/png') == len(names) and page.count("<audio") == 10


HIDDEN = (
    "--systems",
    "hidden_text",
    "--stage",
    "6",
    "--stop_stage",
    "10",
    "--iterations",
    "2",
    "--clusters",
    "12 16",
    "--portion",
    "1",
    "--kmeans_args",
    "--n_init 2",
    "--iteration_args",
    "--max_epoch 1 --num_iters_per_epoch 20",
    "--text_to_unit_args",
    "--max_epoch 2 --num_iters_per_epoch 15",
    "--pretrain_args",
    "--max_epoch 1 --num_iters_per_epoch 8",
    "--tag",
    "short",
)


@pytest.fixture(scope="module")
def hidden(finished) -> tuple[Path, str]:
    """(folder of the recipe after stages 6 to 10 on hidden units, what a second run says)."""
    folder = finished[0]
    run_recipe(folder, *HIDDEN)
    return folder, run_recipe(folder, *HIDDEN)


@pytest.mark.recipe
def test_hidden_units_of_two_iterations(hidden):
    folder = hidden[0]
    rows = (folder / "exp" / "unit_quality" / "units.md").read_text().splitlines()[2:]
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    assert [(row[0], int(row[4])) for row in cells] == [("iteration_1", 12), ("iteration_2", 16)]
    assert all(int(row[2]) == 120 and float(row[8]) > 0.1 for row in cells)
    for name in ("speech", "dev", "paired"):
        units = folder / "dump" / name / "units_hidden_2"
        assert len((units / "tokens.txt").read_text().split()) == 16
        assert not check_units(units, folder / "dump" / name)
    assert not list((folder / "exp").glob("kmeans_*/samples"))


@pytest.mark.recipe
def test_all_text_has_hidden_units_and_pretraining_reads_them(hidden):
    exp = hidden[0] / "exp"
    assert "unit accuracy" in (exp / "text_to_unit" / "RESULTS.md").read_text()
    lines = len((hidden[0] / "dump" / "text" / "train.txt").read_text().splitlines())
    store = UnitStore(exp / "text_units" / "train")
    assert len(store) == lines and store.missing() == []
    assert f"{lines} lines" in (exp / "text_units" / "train" / "report.txt").read_text()
    log = exp / "pretrain_hidden_text_short" / "train.log"
    assert len(epoch_values(log, "train", "loss_ctc")) == 1
    assert (exp / "pretrain_hidden_text_short" / "model.safetensors").is_file()
    assert "done already" in hidden[1] and ": starts" not in hidden[1]
