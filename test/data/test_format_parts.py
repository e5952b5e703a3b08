"""Stage 2 in jobs: the same dump as of one process, whose finished parts are not made again."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechlm.data import format_parts
from speechlm.data.dir_parts import kept_split
from speechlm.data.format_finish import finish_parts
from speechlm.data.format_options import FormatOptions
from speechlm.data.format_parts import PARTS, plan_parts, prepare_part
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.segments import Segment

LENIENT = FormatOptions(max_bad_share=1.0)
TABLES = ["report.tsv", "segments", "spk2utt", "text", "utt2num_samples", "utt2spk", "wav.scp"]


@pytest.fixture
def odd(source, helpers):
    """Ten utterances: one of another rate, some wrong in their audio or in the tables."""
    paths = DataDir.read(source[0]).wav
    soundfile.write(paths[source[1][0]], helpers.tone(1.5, 8000), 8000)
    loud = 1.5 * np.sin(np.arange(16000, dtype=np.float32))
    soundfile.write(paths[source[1][1]], loud, 16000, format="WAV", subtype="FLOAT")
    content = Path(paths[source[1][3]]).read_bytes()
    Path(paths[source[1][3]]).write_bytes(content[: len(content) // 2])
    Path(paths[source[1][7]]).unlink()
    text = (source[0] / "text").read_text().splitlines()
    text[5] = source[1][5] + " 7 odd characters"
    (source[0] / "text").write_text("\n".join(reversed(text)) + "\n")
    return source


def parts_of_recordings(folder, helpers, rate):
    """Three recordings with ten parts, of which one reaches beyond the end."""
    folder.mkdir()
    wav, segments = {}, {}
    for n, count in enumerate((1, 6, 3)):
        path = folder / f"r{n}.flac"
        soundfile.write(path, helpers.tone(count + 0.5, rate, n), rate)
        for part in range(count):
            name = f"s{n}-{part}"
            wav[name] = str(path)
            segments[name] = Segment(f"r{n}", part * 1.0, part + (1.75 if part == 2 else 0.875))
    DataDir(wav, {u: u.split("-")[0] for u in wav}, segments=segments).write(folder / "data")
    return folder / "data"


def in_jobs(source, target, n, options=LENIENT):
    plan_parts(source, target, options, n)
    read = [prepare_part(target, options, job) for job in range(1, n + 1)]
    return read, finish_parts(source, target, options, n)


def tables(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in TABLES if (folder / name).exists()}


def here(monkeypatch, folder):
    """Work in a folder, so that two dumps of one name have the same paths."""
    folder.mkdir()
    monkeypatch.chdir(folder)


@pytest.mark.parametrize("n", [1, 3, 12])
def test_the_same_bytes_as_of_one_process(tmp_path, odd, monkeypatch, n, helpers):
    here(monkeypatch, tmp_path / "one")
    _, report = helpers.dump_of(odd[0], "dump", LENIENT)
    here(monkeypatch, tmp_path / "jobs")
    read, (data, again) = in_jobs(odd[0], "dump", n)
    assert sum(read) == 9 and len(read) == n  # the tables are wrong for one of ten
    assert tables(tmp_path / "one" / "dump") == tables(tmp_path / "jobs" / "dump")
    assert again == report and {"clipped", "truncated audio"} <= {i.kind for i in report.items}
    for path in (tmp_path / "one" / "dump" / "audio").iterdir():
        copy = tmp_path / "jobs" / "dump" / "audio" / path.name
        assert copy.read_bytes() == path.read_bytes()
    assert (tmp_path / "jobs" / "dump" / ".utterances.idx").exists()
    assert not (tmp_path / "jobs" / "dump" / PARTS).exists()
    assert len(data) == len(DataDir.read("dump"))


@pytest.mark.parametrize("rate", [16000, 8000])
def test_recordings_with_parts(tmp_path, helpers, monkeypatch, rate):
    source = parts_of_recordings(tmp_path / "corpus", helpers, rate)
    here(monkeypatch, tmp_path / "one")
    helpers.dump_of(source, "dump", LENIENT)
    here(monkeypatch, tmp_path / "jobs")
    in_jobs(source, "dump", 3)
    assert tables(tmp_path / "one" / "dump") == tables(tmp_path / "jobs" / "dump")
    assert ((tmp_path / "jobs" / "dump" / "segments").exists()) == (rate == 16000)


def test_only_what_is_missing_or_has_changed_is_read_again(tmp_path, odd, helpers, monkeypatch):
    target = tmp_path / "dump"
    plan_parts(odd[0], target, LENIENT, 3)
    for job in (1, 3):
        prepare_part(target, LENIENT, job)
    with pytest.raises(ValueError, match="2.results expected, but job 2 of 3 has not written it"):
        finish_parts(odd[0], target, LENIENT, 3)
    read, (first, report) = in_jobs(odd[0], target, 3)
    # of those that are read again: two that become copies, which are kept, one that is not there
    assert read == [2, 3, 1] and len(first) == 7

    strict = FormatOptions(max_bad_share=0.1)
    with pytest.raises(ValueError, match="are wrong, more than the share"):
        in_jobs(odd[0], target, 3, strict)
    path = next(i.path for i in report.items if i.kind == "truncated audio")
    soundfile.write(path, helpers.tone(1.25), 16000)  # the user gets it anew
    read, (data, _) = in_jobs(odd[0], target, 3)
    assert len(data) == 8 and DataDir.read(target).n_samples[odd[1][3]] == 20000
    assert sum(read) == 4


def test_other_rules_are_asked_anew(tmp_path, source, helpers, monkeypatch):
    target = tmp_path / "dump"
    soundfile.write(
        DataDir.read(source[0]).wav[source[1][0]], np.stack([helpers.tone()] * 2, 1), 16000
    )
    plan_parts(source[0], target, LENIENT, 2)
    for job in (1, 2):
        assert prepare_part(target, LENIENT, job) == 5
        assert prepare_part(target, LENIENT, job) == 0
    mixed = FormatOptions(mix_channels=True)
    assert [prepare_part(target, mixed, job) for job in (1, 2)] == [5, 5]
    assert len(finish_parts(source[0], target, mixed, 2)[0]) == 10
    plan_parts(source[0], target, mixed, 2)
    prepare_part(target, mixed, 1)
    assert prepare_part(target, mixed, 1) == 1  # a copy, whose own mark says what it was made of
    monkeypatch.setattr(format_parts, "RULES", format_parts.RULES + 1)
    assert prepare_part(target, mixed, 1) == 5
    plan_parts(source[0], target, mixed, 3)  # cut in another way
    assert not list((target / PARTS).glob("*.results"))


def test_tables_that_change_meanwhile(tmp_path, source):
    target = tmp_path / "dump"
    plan_parts(source[0], target, LENIENT, 2)
    for job in (1, 2):
        prepare_part(target, LENIENT, job)
    data = DataDir.read(source[0])
    data.subset(data.ids[1:]).write(source[0])
    with pytest.raises(ValueError, match=f"planned for other tables.*{source[1][0]}.*start the"):
        finish_parts(source[0], target, LENIENT, 2)


def test_a_job_without_a_plan(tmp_path):
    with pytest.raises(ValueError, match=r"4.list expected, but it is not there; run format_data"):
        prepare_part(tmp_path, LENIENT, 4)


def test_parts_of_older_tables_go_with_them(tmp_path, source, helpers):
    target = tmp_path / "dump"
    helpers.dump_of(source[0], target, LENIENT)
    kept_split(target, 2)
    assert (target / ".split2").is_dir()
    helpers.dump_of(source[0], target, LENIENT)
    assert not (target / ".split2").exists() and (target / "wav.scp").exists()
