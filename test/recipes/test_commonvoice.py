"""egs/commonvoice: tables cut by speakers, and a dry run that says what is in which language."""

import re
import subprocess
import sys

import pytest

HEADER = "client_id\tpath\tsentence\tup_votes\n"


def cut(root, tmp_path, rows, shares):
    """Run cut_table.py on rows of (client, clip, sentence)."""
    table = tmp_path / "validated.tsv"
    table.write_text(HEADER + "".join(f"{c}\t{p}\t{s}\t2\n" for c, p, s in rows))
    script = root / "egs" / "commonvoice" / "local" / "cut_table.py"
    command = [sys.executable, script, "--table", table, "--shares", shares]
    command += ["--output", tmp_path / "tables"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_no_speaker_is_in_two_tables_and_no_clip_is_lost(root, tmp_path):
    rows = [(f"client{n % 23:02d}" * 3, f"clip_{n}.mp3", f"Größe {n}") for n in range(200)]
    done = cut(root, tmp_path, rows, "80,10,10")
    assert done.returncode == 0, done.stderr
    tables = {}
    for part in ("train", "dev", "test"):
        lines = (tmp_path / "tables" / f"{part}.tsv").read_text(encoding="utf-8").splitlines()
        header, *tables[part] = [tuple(line.split("\t")) for line in lines]
        assert header == ("path", "sentence", "client_id")
    clips = [clip for part in tables.values() for clip, *_ in part]
    assert sorted(clips) == sorted(p for _, p, _ in rows)
    speakers = {part: {client for *_, client in lines} for part, lines in tables.items()}
    assert [len(s) for s in speakers.values()] == [19, 2, 2]
    assert len(set().union(*speakers.values())) == 23


@pytest.mark.parametrize(
    ("clients", "shares", "message"),
    [
        (2, "80,10,10", "2 speakers cannot be cut"),
        (9, "80,10", "three whole numbers"),
        (9, "80,10,20", "add up to 100"),
        (9, "90,10,0", "at least 1"),
    ],
)
def test_shares_and_speakers_that_cannot_be_cut(root, tmp_path, clients, shares, message):
    rows = [(f"client{n}", f"clip_{n}.mp3", "Ja") for n in range(clients)]
    done = cut(root, tmp_path, rows, shares)
    assert done.returncode != 0 and message in done.stderr and "Traceback" not in done.stderr


def test_dry_through_all_stages(copy_recipe, run_sh, tmp_path):
    copy_recipe(tmp_path, "commonvoice")
    folder = tmp_path / "egs" / "commonvoice"
    words = ("--corpus", "cv", "--text_corpus", "t", "--lang", "tr", "--dry_run")
    shown = run_sh(folder, *words).stderr
    assert re.findall(r"== stage (\d+): ", shown) == [str(n) for n in range(1, 15)]
    assert shown.count("prepare_common_voice --release cv/tr --table") == 4
    assert "--table train.tsv --language tr" in shown and "cut_table" not in shown
    assert "--table validated.tsv --language tr --without_text --exclude data/dev" in shown
    assert "normalize_text --input t --kind auto --language tr" in shown
    english = run_sh(folder, *words, "--lang", "en").stderr
    assert (
        "--release cv/en --table train.tsv --language en" in english
        and "make_language" not in english
    )
    assert "--lang en" in run_sh(folder, *words, "--lang", "en-GB").stderr
    shown = run_sh(folder, *words, "--data_opts", "--shares 80,10,10").stderr
    assert "cut_table.py --table cv/tr/validated.tsv --shares 80,10,10" in shown
    assert f"--table {folder}/data/tables/test.tsv" in shown
