import importlib.util
import json
import subprocess
import sys

import kenlm
import numpy as np
import pytest

from speechlm.models import SpeechLMConfig

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


@pytest.mark.parametrize("command", ["pretrain-step", "extract"])
def test_a_model_beside_another(root, command):
    figures = benchmark(root, f"{command} {STEP} --model fast_tiny --beside tiny")
    assert figures["model"] == "fast_tiny" and figures["tflop"] > 0
    ratio = figures["cpu_seconds"] / figures["tiny_cpu_seconds"]
    assert figures["cpu_seconds_ratio"] == pytest.approx(ratio, abs=2e-3)
    assert 0 < figures["seconds_ratio"]


PAPER_BATCH = {"rows": 8, "seconds": 10.94, "text_units": 547}
"""What a GPU has in a batch of the paper: 87.5 s of speech and 4,375 units of 20 ms."""


@pytest.fixture(scope="module")
def operations(root):
    """The module that counts operations."""
    sys.path.insert(0, str(root / "tools"))
    try:
        yield importlib.import_module("benchmarks.operations")
    finally:
        sys.path.remove(str(root / "tools"))


def test_operations_of_the_papers_base_are_those_of_its_definition(operations):
    """The count by torch against a formula: products of layers, relative keys, convolutions."""
    config = SpeechLMConfig.base()
    parts = operations.forward_operations(config, **PAPER_BATCH)
    dim, rows = 768, 8
    convolutions, n_frames, inputs = 0.0, int(10.94 * 16000), 1
    for outputs, kernel, stride in config.conv_layers:
        n_frames = (n_frames - kernel) // stride + 1
        convolutions += 2 * n_frames * inputs * outputs * kernel
        inputs = outputs
    n_units = 547

    def layers(count):  # projections and feed-forward; scores, mixing, and scores of 320 distances
        return 6 * 2 * count * dim * (4 * dim + 2 * 3072 + 2 * count + 320)

    position = 2 * n_frames * dim * (dim // 16) * 128
    expected = {
        "front_end": convolutions + 2 * n_frames * 512 * dim,
        "speech_layers": layers(n_frames) + position,
        "shared_on_speech": layers(n_frames),
        "shared_on_text": layers(n_units),
        "heads": 2 * n_frames * 2 * (dim * 256 + 256 * 369) + 2 * n_units * dim * (2 * dim + 33),
    }
    for name, count in expected.items():
        assert parts[name] == pytest.approx(rows * count, rel=0.02), name
    assert 5.2e12 < 3 * sum(parts.values()) < 5.5e12


def test_operations_of_fast_base_are_those_of_its_definition(operations):
    parts = operations.forward_operations(SpeechLMConfig.fast_base(), **PAPER_BATCH)
    dim, rows, n_mel, n_frames, n_units = 768, 8, 1092, 273, 274

    def layers(count):
        return 6 * 2 * count * dim * (4 * dim + 2 * 3072 + 2 * count + 7)

    mel = n_mel * 2 * 257 * 80
    convolutions = 2 * n_frames * (2 * 5 * 80 * 512 + 5 * 512 * dim)
    fourier = n_mel * 2.5 * 512 * 9
    expected = {
        "front_end": mel + convolutions + fourier + 2 * n_frames * dim * dim,
        "speech_layers": layers(n_frames),
        "shared_on_speech": layers(n_frames),
        "shared_on_text": layers(n_units),
        "heads": 2 * 2 * n_frames * dim * 369 + 2 * n_units * dim * (2 * dim * 2 + 2 * 33),
    }
    for name, count in expected.items():
        assert parts[name] == pytest.approx(rows * count, rel=0.02), name


def test_a_fast_base_takes_a_third_of_the_papers_operations(operations):
    """All of a step: at most 1.9 TFLOP, the front end at most a thirtieth of the paper's."""
    fast = operations.forward_operations(SpeechLMConfig.fast_base(), **PAPER_BATCH)
    paper = operations.forward_operations(SpeechLMConfig.base(), **PAPER_BATCH)
    assert 3 * sum(fast.values()) <= 1.9e12
    assert fast["front_end"] <= paper["front_end"] / 30
    assert set(fast) == set(paper) and min(fast.values()) > 0
    coarse, fine = (
        operations.forward_operations(SpeechLMConfig.fast_base(subsampling=n), **PAPER_BATCH)
        for n in (4, 2)
    )
    assert coarse == fast and sum(fine.values()) > 1.9 * sum(fast.values())


def test_operations_without_text(operations):
    parts = operations.forward_operations(SpeechLMConfig.fast_tiny(), 2, 3.0, 0)
    assert parts["shared_on_text"] == 0 and parts["shared_on_speech"] > 0


def test_a_projection(root):
    command = (
        "operations --model fast_tiny --beside tiny --updates 100000000 --gpus 2 --peak_tflops 100"
    )
    figures = benchmark(root, command)
    step = figures["fast_tiny_step_tflop"]
    hours = figures["fast_tiny_gpu_hours_at_0.30"]
    assert hours == pytest.approx(1e8 * 2 * step / 30 / 3600, rel=0.01)
    ratio = step / figures["tiny_step_tflop"]
    assert figures["step_ratio"] == pytest.approx(ratio, rel=0.01) and ratio < 0.6
    assert figures["fast_tiny_gpu_hours_at_0.45"] <= hours


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


DATA = "data --batches 3 --repeats 1 --lines 60 --batch_samples 150000 --batch_units 1000"
DATA_PARTS = ("audio", "units", "text", "rest", "handing_over")


def test_data(root):
    figures = benchmark(root, f"{DATA} --utterances 8 --seconds 3")
    assert figures["recorded_seconds"] == 24 and figures["goal"] == 4861
    for container in ("flac", "wav"):
        whole = figures[f"{container}_audio_seconds_per_cpu_second"]
        parts = [figures[f"{container}_{name}"] for name in DATA_PARTS]
        assert whole > 0
        # a second of audio takes what its parts take together, of which none is below 0
        assert 1 / whole <= 1.1 * sum(1 / rate for rate in parts)
        assert figures[f"{container}_cores_a_gpu"] == pytest.approx(4861 / whole, abs=0.01)
    assert figures["flac_audio"] < figures["wav_audio"]


def test_data_of_recordings(root, tmp_path):
    import soundfile

    sound = np.random.default_rng(0).normal(0, 0.1, 40_000)
    (tmp_path / "deep").mkdir()
    for number in range(3):
        soundfile.write(tmp_path / "deep" / f"{number}.flac", sound, 16000)
    figures = benchmark(root, f"{DATA} --recordings {tmp_path} --batches_at_once 2")
    assert figures["recorded_seconds"] == 7.5 and figures["flac_audio"] > 0


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
