"""The data mains as programs: from a corpus to split dump directories, and their errors."""

import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile


@pytest.fixture
def run(root, tmp_path):
    """Run `python -m speechlm.bin.NAME ARGUMENTS` in tmp_path; returns the process."""

    def call(name: str, *arguments: str, traceback: bool = False) -> subprocess.CompletedProcess:
        environment = {**os.environ, "PYTHONPATH": str(root)}
        if traceback:
            environment["SPEECHLM_TRACEBACK"] = "1"
        command = [sys.executable, "-m", f"speechlm.bin.{name}", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    return call


@pytest.fixture
def corpus(tmp_path):
    rng = np.random.default_rng(0)
    for speaker in ("1", "2"):
        folder = tmp_path / "the corpus" / "train" / speaker / "5"
        folder.mkdir(parents=True)
        text = ""
        for i in range(3):
            name = f"{speaker}-5-000{i}"
            soundfile.write(folder / f"{name}.flac", rng.standard_normal(16000) * 0.1, 16000)
            text += f"{name} SENTENCE {'ABC'[i]} OF {speaker.replace('1', 'X').replace('2', 'Y')}\n"
        (folder / f"{speaker}-5.trans.txt").write_text(text)
    return tmp_path / "the corpus"


def test_from_corpus_to_split_dump(run, corpus, tmp_path):
    done = run(
        *("prepare_librispeech", "--corpus", "the corpus", "--parts", "train", "--output", "data/t")
    )
    assert done.returncode == 0, done.stderr
    assert "6 utterances, 2 speakers; nothing wrong" in done.stderr
    done = run("format_data", "--input", "data/t", "--output", "dump/t", "--nj", "2")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "dump/t/utt2num_samples").read_text().startswith("1-5-0000 16000\n")
    done = run("split_data", "--input", "dump/t", "--n", "4")
    assert (done.returncode, done.stdout) == (0, "4\n")
    done = run("split_data", "--input", "dump/t", "--n", "4", "--by_speaker", "--output", "s")
    assert (done.returncode, done.stdout) == (0, "2\n")
    assert "2 parts, because there are no more speakers" in done.stderr
    parts = [f"dump/t/.split4/{i}" for i in range(1, 5)]
    assert run("combine_data", "--input", *parts, "--output", "again").returncode == 0
    for table in ("wav.scp", "text", "utt2spk", "spk2utt", "utt2num_samples"):
        assert (tmp_path / "again" / table).read_text() == (tmp_path / "dump/t" / table).read_text()
    (tmp_path / "a text.txt").write_text("The cat sat on the mat.\nHello there.\n")
    done = run(
        *("normalize_text", "--input", "a text.txt", "--output", "x/t.txt"),
        *("--exclude", "data/t/text"),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x/t.txt.report.txt").exists()


@pytest.mark.parametrize("layout", ["librispeech", "recordings"])
def test_a_corpus_that_is_mostly_wrong_stops_it(run, corpus, tmp_path, layout):
    folder = corpus / "train" / "1" / "5"
    if layout == "librispeech":
        (folder / "1-5.trans.txt").unlink()  # a half of the six recordings
        part = "train"
    else:
        part = "train/1/5"
        (folder / "text").write_text("1-5-0000 ONE\n1-5-0001 TWO\n")  # two of three
    words = (f"prepare_{layout}", "--corpus", "the corpus", "--parts", part, "--output", "d")
    done = run(*words)
    assert done.returncode == 1 and "that is allowed (--max_bad_share)" in done.stderr
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["report.tsv"]
    done = run(*words, "--max_bad_share", "0.5")
    assert done.returncode == 0 and "left out: " in done.stderr
    assert (tmp_path / "d" / "wav.scp").is_file()


def test_users_errors_are_one_line(run, corpus, tmp_path):
    done = run("prepare_librispeech", "--corpus", "the corpus", "--parts", "dev", "--output", "d")
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "error: no part dev in the corpus; it has: train (report: d/report.tsv)"
    )
    assert (tmp_path / "d/report.tsv").read_text() == (
        "# refused: no part dev in the corpus; it has: train\n"
    )
    done = run("format_data", "--input", "data/none", "--output", "d", traceback=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.strip().endswith(
        "error: data directory expected, but data/none is not there (report: d/report.tsv)"
    )


def test_without_packages_it_says_where_they_are(root):
    command = [sys.executable, "-S", "-m", "speechlm.bin.format_data", "--input", "a"]
    done = subprocess.run(
        [*command, "--output", "b"], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "tools/install.sh" in done.stderr
    assert done.stderr.startswith("error: No module named ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--imput", "a"], "unknown option --imput (the nearest valid one is --input)"),
        (
            ["--max-seconds=3"],
            "unknown option --max-seconds (the nearest valid one is --max_seconds)",
        ),
        (["--inp", "a"], "unknown option --inp (the nearest valid one is --input)"),
        (["--input", "a", "--output", "b", "c"], "unexpected argument 'c'"),
        (["--nj", "0"], "argument --nj: 1 or more expected, got '0'"),
        (["--nj", "two"], "argument --nj: 1 or more expected, got 'two'"),
        (["--input", "a"], "the following arguments are required: --output"),
    ],
)
def test_unknown_options(run, arguments, message):
    done = run("format_data", *arguments)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.parametrize(
    ("name", "option", "least"),
    [
        ("emissions", "--num_threads", 1),
        ("emissions", "--batch_samples", 1),
        ("generate_text_units", "--num_threads", 1),
        ("generate_text_units", "--nj", 1),
        ("split_data", "--n", 1),
        ("report", "--samples", 0),
        ("pretrain", "--num_threads", 1),
        ("pretrain", "--ngpu", 0),
    ],
)
def test_numbers_that_cannot_be(run_main, name, option, least):
    done = run_main(name, option, least - 1)
    assert done.returncode == 2
    assert f"argument {option}: {least} or more expected, got '{least - 1}'" in done.stderr


@pytest.mark.parametrize(
    "name",
    ["prepare_librispeech", "format_data", "combine_data", "split_data", "merge_units"]
    + ["normalize_text", "download_librispeech", "import_fairseq", "export_fairseq"],
)
def test_help(run, name):
    done = run(name, "--help")
    assert done.returncode == 0
    assert "usage" in done.stdout


def test_units_are_merged_and_checked(run, corpus, tmp_path):
    run("prepare_librispeech", "--corpus", "the corpus", "--parts", "train", "--output", "data/t")
    run("format_data", "--input", "data/t", "--output", "dump/t")
    from speechlm.data.archives import ArchiveWriter, write_unit_info

    units = tmp_path / "dump/t/units_phone"
    for job in (1, 2):
        with ArchiveWriter(units, job=job) as writer:
            for i in range(3):
                writer.write(f"{job}-5-000{i}", np.full(98, i))
    write_unit_info(units, 0.01, ["a", "b", "c"])
    merge = ("merge_units", "--input", "dump/t/units_phone", "--n", "2", "--data", "dump/t")
    done = run(*merge)
    assert done.returncode == 0, done.stderr
    done = run("export_fairseq", "--input", "dump/t", "--units", "units_phone", "--output", "f")
    assert done.returncode == 0, done.stderr
    done = run(
        *("import_fairseq", "--tsv", "f/train.tsv", "--labels", "f/train.phn"),
        *("--dict", "f/dict.phn.txt", "--letters", "f/train.ltr", "--output", "back"),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "back/text").read_text() == (tmp_path / "dump/t/text").read_text()
    with ArchiveWriter(units, job=2) as writer:
        writer.write("2-5-0000", np.zeros(97, int))
    done = run(*merge)
    assert done.returncode == 1
    assert "2-5-0000: 98 labels expected, found 97" in done.stderr
    assert "2-5-0001: no units" in done.stderr


def test_parts_of_a_recording_through_the_mains(run, tmp_path):
    wave = np.random.default_rng(0).standard_normal(160000) * 0.1
    soundfile.write(tmp_path / "long.flac", wave, 16000)
    (tmp_path / "d").mkdir()
    tables = {"wav.scp": "r long.flac\n", "segments": "s-1 r 1 2.5\ns-2 r 2 4\ns-3 r 5 -1\n"}
    tables |= {"utt2spk": "s-1 s\ns-2 s\ns-3 s\n", "text": "s-1 ONE\ns-2 TWO\ns-3 THREE\n"}
    for name, content in tables.items():
        (tmp_path / "d" / name).write_text(content)
    assert run("format_data", "--input", "d", "--output", "dump").returncode == 0
    assert (tmp_path / "dump/utt2num_samples").read_text() == "s-1 24000\ns-2 32000\ns-3 80000\n"
    assert run("split_data", "--input", "dump", "--n", "2").stdout == "2\n"
    parts = [f"dump/.split2/{i}" for i in (1, 2)]
    assert run("combine_data", "--input", *parts, "--output", "again").returncode == 0
    for table in ("wav.scp", "segments", "utt2num_samples"):
        assert (tmp_path / "again" / table).read_text() == (tmp_path / "dump" / table).read_text()
    done = run("export_fairseq", "--input", "dump", "--output", "f")
    assert done.returncode == 0 and "3 parts of recordings become files in f/audio" in done.stderr
    lines = (tmp_path / "f/train.tsv").read_text().splitlines()
    assert lines[0].endswith("/f/audio") and lines[2] == "s-2.flac\t32000"
    cut = soundfile.read(tmp_path / "f/audio/s-2.flac")[0]
    np.testing.assert_allclose(cut, wave[32000:64000], atol=1e-4)
    (tmp_path / "d" / "segments").write_text("s-1 q 1 2.5\ns-2 r 3 2\ns-3 r 50 60\n")
    done = run("format_data", "--input", "d", "--output", "wrong")
    assert done.returncode == 1 and "segment" in done.stderr and "d/segments" in done.stderr
