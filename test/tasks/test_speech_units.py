"""Speech of pre-training through the index: as it was found by reading all tables."""

import logging

import numpy as np
import pytest

from speechlm.data import columns, table_blocks
from speechlm.data.archives import ArchiveReader, ArchiveWriter, merge_archives, n_labels
from speechlm.data.archives import write_unit_info as write_info
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.report import Report
from speechlm.data.segments import Segment
from speechlm.tasks.left_out import list_left_out
from speechlm.tasks.speech_units import SpeechUnits


def make(folder, n: int, without: float, parts: bool, seed: int = 0) -> None:
    """Utterances whose audio is not there, some of them without units."""
    random = np.random.default_rng(seed)
    samples = {f"s{i % 4}-{i:04d}": int(random.integers(400, 60000)) for i in range(n)}
    names = {u: "long" if parts and i % 3 else u for i, u in enumerate(samples)}
    data = DataDir(
        {u: f"/a  b/{name}.flac" for u, name in names.items()},
        {u: u[:2] for u in samples},
        n_samples=samples,
        segments={
            u: Segment("long", i, i + 1) for i, u in enumerate(samples) if names[u] == "long"
        },
    )
    data.write(folder)
    for job in (1, 2):
        with ArchiveWriter(folder / "units", "units", job) as writer:
            for u, count in list(samples.items())[job - 1 :: 2]:
                if random.random() >= without:
                    writer.write(u, random.integers(0, 9, n_labels(count)))
            writer.write(f"stranger {job}".replace(" ", ""), np.zeros(3, int))
    merge_archives(folder / "units", 2)
    write_info(folder / "units", 0.01, [str(n) for n in range(9)])


def plain_choice(folder, least: int, report) -> list[str]:
    """The utterances that are used, found with all tables in memory; the others are listed."""
    data, archive = DataDir.read(folder), ArchiveReader(folder / "units" / "units.scp")
    samples, left_out, used = data.samples(), Report(), []
    for u in data.ids:
        if u not in archive:
            left_out.leave_out("no units", u, folder / "units", "not in units")
        elif samples[u] < least:
            detail = f"{samples[u]} samples, fewer than {least}"
            left_out.filter("too short", u, data.wav[u], detail)
        else:
            used.append(u)
    list_left_out(left_out, len(used), folder, report)
    left_out.check_share(len(used), 1.0, str(folder))
    return used


@pytest.fixture(params=[7, 1 << 20])
def small_portions(request, monkeypatch):
    monkeypatch.setattr(columns, "_ROWS", request.param)
    monkeypatch.setattr(table_blocks, "_BLOCK", 50 * request.param)


@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize("without", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("least", [0, 20000])
def test_the_choice_and_its_report_are_the_same(
    small_portions, tmp_path, caplog, parts, without, least
):
    caplog.set_level(logging.INFO)
    folder = tmp_path / "data"
    make(folder, 60, without, parts)
    used = plain_choice(folder, least, tmp_path / "plain")
    messages = [record.getMessage() for record in caplog.records]
    caplog.clear()
    speech = SpeechUnits(folder, "units", 100, least, 50000, report=tmp_path / "ours")
    assert list(speech.ids) == used and len(speech) == len(used)
    assert (tmp_path / "ours").read_text() == (tmp_path / "plain").read_text()
    ours = [record.getMessage().replace("/ours", "/plain") for record in caplog.records]
    assert [message for message in ours if "done once" not in message] == messages
    data, archive = DataDir.read(folder), ArchiveReader(folder / "units" / "units.scp")
    assert speech.lengths.tolist() == [min(50000, data.n_samples[u]) for u in used]
    for index, u in enumerate(used):
        np.testing.assert_array_equal(speech._labels(index), archive[u] + 4)


@pytest.mark.parametrize(("without", "least"), [(1.0, 0), (0.0, 10**6), (0.3, 10**6)])
def test_nothing_left_is_said_in_the_same_words(tmp_path, without, least):
    make(tmp_path, 30, without, False)
    with pytest.raises(ValueError) as plain:
        plain_choice(tmp_path, least, None)
    with pytest.raises(ValueError) as ours:
        SpeechUnits(tmp_path, "units", 100, least)
    assert str(ours.value) == str(plain.value)


def test_no_table_of_speakers_or_words_is_read(tmp_path):
    make(tmp_path, 10, 0.0, False)
    (tmp_path / "utt2spk").unlink()
    (tmp_path / "text").write_text("nothing\n")
    assert len(SpeechUnits(tmp_path, "units", 100, 0)) == 10


def test_a_vector_that_is_not_there_is_named(tmp_path):
    make(tmp_path, 10, 0.0, False)
    scp = tmp_path / "units" / "units.scp"
    lines = scp.read_text().splitlines()
    lines[3] += "9"
    scp.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(ValueError, match=r"ark: no vector of labels at byte \d+9 for s1-0001"):
        SpeechUnits(tmp_path, "units", 100, 0)
