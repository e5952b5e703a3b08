import importlib.util
import json
import subprocess
import sys

import kenlm
import numpy as np
import pytest

STEP = "--model tiny --batch 1 --seconds 1 --threads 1 --repeats 1 --dtype bfloat16"


def load(path):
    """A module that is no part of a package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def benchmark(root, command):
    """The figures of a benchmark: its last line."""
    run = subprocess.run(
        [sys.executable, root / "tools" / "benchmark.py", *command.split()],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("command", ["pretrain-step", "extract"])
def test_last_line_is_json_with_figures(root, command):
    figures = benchmark(root, f"{command} {STEP}")
    assert figures["model"] == "tiny" and figures["dtype"] == "bfloat16"
    assert figures["seconds_given"] == 1
    for name in ("seconds", "cpu_seconds", "peak_gib", "tflop", "audio_seconds_per_second"):
        assert figures[name] > 0, name
    assert figures["share_of_limit"] > 0


def test_kernels(root):
    figures = benchmark(
        root, f"kernels {STEP} --kernels attention gelu --text_units 100 --fresh_memory"
    )
    assert {"attention_percent", "gelu_percent"} <= figures.keys()
    assert figures["gelu_kept_gib"] > figures["kept_gib"] > 0  # the GELU's output is kept, too


def test_text(root):
    figures = benchmark(root, "text --lines 50 --seconds 0.05 --repeats 1 --sentences 3")
    assert figures["lines_per_cpu_second"] > 0 and figures["units_per_line"] > 50
    assert figures["text_to_unit_units_per_second"] > 0


def test_beam(root):
    figures = benchmark(root, "beam --model tiny --utterances 4 --seconds 1 --repeats 1")
    assert figures["same_outputs"] == 4 and figures["tokens_written"] > 4 * 10
    assert figures["batched_sentences_per_second"] > 0
    assert figures["speed_up"] > 0 and figures["search_speed_up"] > 0


def test_decode(root, tmp_path):
    from speechlm.data.archives import ArchiveWriter, merge_archives, write_frame_shift
    from speechlm.lm.ctc_graph import make_ctc_graph
    from speechlm.lm.spellings import read_spellings

    brute_force = load(root / "test" / "decode" / "brute_force.py")
    lexicon, arpa = tmp_path / "lexicon.lst", tmp_path / "lm.arpa"
    lexicon.write_text(brute_force.LEXICON)
    rng = np.random.default_rng(0)
    words = sorted({word for word, _ in brute_force.lexicon()})
    brute_force.RandomTrigram(rng, words).write(arpa)
    make_ctc_graph(read_spellings(lexicon), arpa, tmp_path / "graph")
    data, emissions = tmp_path / "data", tmp_path / "emissions"
    data.mkdir()
    for name, row in (("wav.scp", "u.wav"), ("text", "A BAB"), ("utt2spk", "u"), ("spk2utt", "u")):
        (data / name).write_text(f"u {row}\n")
    (data / "utt2num_samples").write_text("u 3200\n")
    with ArchiveWriter(emissions, "emissions", 1) as archive:
        archive.write("u", brute_force.random_emissions(rng, 9))
    (emissions / "skipped.1").write_text("")
    write_frame_shift(emissions, 0.02)
    merge_archives(emissions, 1, "emissions")
    command = f"decode --emissions {emissions} --graph {tmp_path / 'graph'} --data_dir {data}"
    command += f" --build {arpa} {lexicon} --made_up_ngrams 3000 --made_up_words 300"
    figures = benchmark(root, command)
    assert [row["search"] for row in figures["searches"]] == ["graph"] * 5 + ["flashlight"] * 5
    assert all(row["cpu_seconds"] > 0 and row["WER"] >= 0 for row in figures["searches"])
    wide = [row for row in figures["searches"] if row["beam"] in ("16 / 6000", "1500")]
    assert wide[0]["WER"] == wide[1]["WER"]
    given, made_up = figures["graphs"]
    assert (given["words"], made_up["words"]) == (len(words), 300)
    assert 2000 < made_up["ngrams"] <= 3000 and made_up["arcs"] > 3000
    assert made_up["peak_gib"] > 0 and made_up["graph_mb"] > 0


def test_a_made_up_model_is_a_distribution(root, tmp_path):
    made_up = load(root / "tools" / "benchmarks" / "made_up_arpa.py")
    arpa, words_file = tmp_path / "lm.arpa", tmp_path / "words"
    counts = made_up.write_made_up_arpa(arpa, words_file, 400, 6000, seed=2)
    words = words_file.read_text().split()
    assert len(set(words)) == 400 and counts[0] == 402 and sum(counts) == 6000
    model = kenlm.Model(str(arpa))
    trigrams = [line.split("\t")[1].split() for line in arpa.read_text().splitlines()[-900:-3]]
    for context in (["<s>"], [], [words[0]], [words[399]], *[t[:2] for t in trigrams[::200]]):
        state, other = kenlm.State(), kenlm.State()
        model.NullContextWrite(state)
        if context[:1] == ["<s>"]:
            model.BeginSentenceWrite(state)
        for word in context:
            if word != "<s>":
                model.BaseScore(state, word, other)
                state, other = other, kenlm.State()
        total = sum(10 ** model.BaseScore(state, word, other) for word in [*words, "</s>"])
        assert total == pytest.approx(1.0, abs=1e-3), context
