"""What is given to --exclude excludes, in whatever form it names recordings or sentences."""

import gzip

import pytest

from speechlm.data.excluded import Sentences, recordings
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.language import ENGLISH
from speechlm.data.text_files import TextOptions, normalize_files
from speechlm.data.text_normalize import SentenceOptions

LONG = "ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE TEN"
TEXT = ["HELLO THERE", f"ZERO {LONG}", "GOOD DAY TO YOU", "THE END"]


def sentences(*sources, n_words=8):
    return Sentences(sources, n_words, SentenceOptions(), ENGLISH)


FORMS = {
    "Kaldi": "u1 HELLO THERE\nu2 {0}\n",
    "tabs": "u1\tHELLO THERE\nu2\t{0}\n",
    "tabs and blanks": "u1 \t HELLO  THERE\nu2\t{0}  \n",
    "leading blanks": "  u1 HELLO THERE\n  u2 {0}\n",
    "ids of letters": "anna HELLO THERE\nbob {0}\n",
    "unsorted ids of letters": "bob HELLO THERE\nanna {0}\n",
    "no ids": "HELLO THERE\n{0}\nHELLO AGAIN\n",
    "a single line without an id": "HELLO THERE\n",
    "lower case": "hello there\n{0}\n",
    "raw": "Hello, there!\n{0}\n",
    "raw with ids": "u1 Hello, there!\nu2 {0}\n",
    "CR LF": "u1 HELLO THERE\r\nu2 {0}\r\n",
    "a byte order mark": "\ufeffu1 HELLO THERE\nu2 {0}\n",
    "repeated lines": "u1 HELLO THERE\nu1 HELLO THERE\nu2 {0}\n",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["text", "any.txt", "packed.gz"])
def test_sentences_in_any_form_are_excluded(tmp_path, form, name):
    content = FORMS[form].format(LONG.lower()).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    (tmp_path / "in").write_text("\n".join(TEXT))
    normalize_files([tmp_path / "in"], tmp_path / "out", TextOptions(), [tmp_path / name])
    kept = (tmp_path / "out").read_text().splitlines()
    single = form.startswith("a single")
    assert kept == [s for s in TEXT if s != "HELLO THERE" and (single or LONG not in s)]


def test_data_directories_and_folders_of_text_are_excluded(tmp_path):
    data = DataDir({"a-1": "/a.wav"}, {"a-1": "a"}, {"a-1": "HELLO THERE"})
    data.write(tmp_path / "data")
    (tmp_path / "texts").mkdir()
    for name in ("one.txt", "._one.txt"):
        (tmp_path / "texts" / name).write_text("Hello there.\n" if name[0] != "." else "\0\n")
    for source in ("data", "texts"):
        assert "HELLO THERE" in sentences(tmp_path / source)


def test_sentences_are_normalised_as_the_text_is(tmp_path):
    (tmp_path / "text").write_text("u1 He's 20. She is 21.\nu2 Dr. No came.\n")
    found = sentences(tmp_path / "text")
    for sentence in ("HE'S TWENTY", "SHE IS TWENTY ONE", "DOCTOR NO CAME"):
        assert sentence in found
    assert "NO CAME" not in found and found.n_lines == 2


def test_lines_without_ids_keep_their_first_word(tmp_path):
    (tmp_path / "plain").write_text("I SEE YOU\nI HEAR YOU\n")
    found = sentences(tmp_path / "plain")
    assert "I SEE YOU" in found and "SEE YOU" not in found


def test_nothing_excluded_is_a_warning_with_numbers(tmp_path, caplog):
    (tmp_path / "text").write_text("u1 NOBODY SAYS THIS\nu2 NOR THAT\n")
    (tmp_path / "in").write_text("\n".join(TEXT))
    normalize_files([tmp_path / "in"], tmp_path / "out", TextOptions(), [tmp_path / "text"])
    assert "none of the 2 sentences to exclude" in caplog.text and "among the 4" in caplog.text
    assert "WARNING" in caplog.text
    caplog.clear()
    normalize_files([tmp_path / "in"], tmp_path / "out", TextOptions())
    assert "to exclude" not in caplog.text


@pytest.mark.parametrize("content", [None, "", "\n \n", "u1\nu2\n"])
def test_nothing_to_exclude_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "text").write_text(content)
    message = "it is not there" if content is None else "it has none"
    with pytest.raises(ValueError, match=f"text: .*to exclude expected.*{message}"):
        sentences(tmp_path / "text")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="folder: a file text, or"):
        sentences(tmp_path / "folder")


@pytest.fixture
def dumped(tmp_path):
    """Two clips of a data directory whose audio stage 2 has converted."""
    ids = {"sp_a-Clip1": "sp_a", "sp_b-x-y": "sp_b"}
    DataDir({u: f"dump/audio/{u}.flac" for u in ids}, ids).write(tmp_path / "dump")
    DataDir(
        {"s-1": "/cv/clips/Clip1.mp3", "s-2": "/cv/clips/x-y.mp3"}, {"s-1": "s", "s-2": "s"}
    ).write(tmp_path / "data")
    return tmp_path


def test_recordings_of_data_directories(dumped):
    for name in ("dump", "data"):
        assert {"clip1", "x-y"} <= recordings([dumped / name])


@pytest.mark.parametrize(
    "content",
    [
        "Clip1.mp3\nx-y.mp3\n",
        "Clip1\nx-y\n",
        "clips/CLIP1.MP3\nclips/x-y.mp3\n",
        "sp_a-Clip1 HELLO THERE\nsp_b-x-y GOOD DAY\n",
        "sp_a-Clip1\tHELLO THERE\nsp_b-x-y\tGOOD DAY\n",
        "sp_a-Clip1 /the cv/clips/Clip1.mp3\nsp_b-x-y /the cv/clips/x-y.mp3\n",
        "s1\t/the cv/clips/Clip1.mp3\ns2\t/the cv/clips/x-y.mp3\n",
        "client_id\tpath\tsentence\nabc\tClip1.mp3\tHello\nabc\tx-y.mp3\tGood day\n",
        "client_id\tpath\tsentence\nabc\tClip1\tHello\nabc\tx-y\tGood day\n",
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_recordings_of_files(tmp_path, content, packed):
    path = tmp_path / ("list.gz" if packed else "list.tsv")
    path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    assert {"clip1", "x-y"} <= recordings([path])


def test_no_recordings_to_exclude_are_refused(tmp_path):
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match="empty: recordings to exclude expected"):
        recordings([tmp_path / "empty"])
    with pytest.raises(ValueError, match="absent: a file or data directory to exclude"):
        recordings([tmp_path / "absent"])
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match=r"wav.scp expected"):
        recordings([tmp_path / "folder"])
