import json
import subprocess
import sys

import pytest

STEP = "--model tiny --batch 1 --seconds 1 --threads 1 --repeats 1 --dtype bfloat16"


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
