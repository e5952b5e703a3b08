"""Common Voice with CoVoST 2: both published forms, wrong rows and clips, conversion."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechlm.data.audio import read_audio
from speechlm.data.common_voice import plain_transcript, read_common_voice, short_names
from speechlm.data.covost import Direction, read_covost
from speechlm.data.dir_parts import combine, split
from speechlm.data.format_options import FormatOptions
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.report import Refused, Report
from speechlm.data.tsv import read_tsv, split_fields

EN_DE = Direction("en", ["de"])
SENTENCES = {
    "a": ("It's number 2, Mr. Smith!", "Es ist Nummer 2, „Herr Schmidt“!"),
    "b": ("Where are you?", "Wo bist du?"),
    "c": ("Never.", "Niemals."),
    "d": ("So it goes.", "So geht es."),
}


@pytest.fixture
def corpus(tmp_path):
    """A release of four clips of two speakers and en_de in both forms; returns its folder."""
    clips = tmp_path / "en" / "clips"
    clips.mkdir(parents=True)
    random = np.random.default_rng(0)
    for i, name in enumerate(SENTENCES):
        wave = random.normal(0, 0.1, 32000 + 3200 * i).astype(np.float32)
        soundfile.write(clips / f"{name}.mp3", wave, 32000, format="MP3")
    splits = {"a": "train", "b": "train_covost", "c": "dev", "d": "test"}
    clients = {"a": "f" * 128, "b": "0" * 128, "c": "1" * 128, "d": "2" * 128}
    rows = [f"{clients[n]}\t{n}.mp3\t{s}\t2\t0" for n, (s, _) in SENTENCES.items()]
    write(tmp_path / "en" / "validated.tsv", "client_id\tpath\tsentence\tup_votes\tlocale", rows)
    rows = [f"{n}.mp3\t{t}\t{splits[n]}" for n, (_, t) in SENTENCES.items()]
    write(tmp_path / "covost_v2.en_de.tsv", "path\ttranslation\tsplit", rows)
    return tmp_path


def write(path: Path, header: str, rows: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in [header, *rows]), encoding="utf-8")


def write_split_form(corpus: Path, part: str = "train", rows: list[str] | None = None) -> None:
    rows = rows or [f"{n}.mp3\t{s}\t{t}\tspeaker{n}" for n, (s, t) in SENTENCES.items()]
    write(corpus / f"covost_v2.en_de.{part}.tsv", "path\tsentence\ttranslation\tclient_id", rows)


def read(corpus: Path, part: str = "train", direction: Direction = EN_DE):
    return read_covost(corpus / "en", corpus, direction, part)


def kinds(report: Report) -> dict[str, str]:
    return {item.utterance: item.kind for item in report.items}


def test_raw_form_is_split_as_covost_says(corpus):
    parts = {part: read(corpus, part)[0] for part in ("train", "dev", "test")}
    assert parts["train"].ids == ["00000000000000000000-b", "ffffffffffffffffffff-a"]
    assert [len(parts[part]) for part in ("dev", "test")] == [1, 1]
    train = parts["train"]
    assert train.text["ffffffffffffffffffff-a"] == "IT'S NUMBER TWO MISTER SMITH"
    assert train.translation("de")["ffffffffffffffffffff-a"] == SENTENCES["a"][1]
    assert train.utt2spk["00000000000000000000-b"] == "0" * 20
    with pytest.raises(ValueError, match="into fr expected.*there are: de"):
        train.translation("fr")


def test_split_form_needs_no_validated_tsv(corpus):
    (corpus / "en" / "validated.tsv").unlink()
    with pytest.raises(ValueError, match="validated.tsv expected"):
        read(corpus)
    write_split_form(corpus)
    data, report = read(corpus)
    assert data.ids == [f"speaker{n}-{n}" for n in "abcd"] and not report.items
    as_file, _ = read_covost(corpus / "en", corpus / "covost_v2.en_de.train.tsv", EN_DE, "dev")
    assert as_file == data


def test_rows_of_clips_that_are_not_validated_are_listed(corpus):
    path = corpus / "en" / "validated.tsv"
    path.write_text("".join(line for line in path.open() if "\ta.mp3" not in line))
    data, report = read(corpus)
    assert len(data) == 1 and kinds(report) == {"a": "not a validated clip"}


def test_several_targets_share_their_clips(corpus):
    rows = ["a.mp3\tÉs.\ttrain", "d.mp3\tUn.\ttrain"]
    write(corpus / "covost_v2.en_ca.tsv", "path\ttranslation\tsplit", rows)
    data, report = read(corpus, direction=Direction("en", ["de", "ca"]))
    assert list(data.translations) == ["de", "ca"] and len(data) == 1
    assert kinds(report) == {"b": "no translation"}


def test_wrong_rows_are_left_out_and_listed(corpus):
    good = 'a.mp3\tSay "hi".\tSag "hallo".\ts1'
    write_split_form(
        corpus,
        rows=[
            good,
            good,
            "b.mp3\ta tab\there\tein Tab\ts1",
            "c.mp3\tan escaped\\\ttab\tein\\\tTab \\\\ hier\ts1",
            "d.mp3\tOne.\tEins.\ts1",
            "d.mp3\tOne.\tZwei.\ts1",
            "e.mp3\tGone.\tWeg.\ts1",
            "f.mp3\tEmpty.\t  \ts1",
            "g.txt\tText.\tText.\ts1",
            "../h.mp3\tUp.\tAuf.\ts1",
            "i.mp3\t?!\tFrage\ts1",
            "j.mp3\tNobody.\tNiemand.\t",
            "k.mp3",
            "l.mp3\tOther.\tAnders.\ts1",
            "m.mp3\tSay 你好.\tHallo.\ts1",
        ],
    )
    for name in ("i", "j", "m"):
        (corpus / "en" / "clips" / f"{name}.mp3").write_bytes(b"")
    (corpus / "en" / "clips" / "l.wav").write_bytes(b"")
    data, report = read(corpus)
    assert data.translation("de") == {
        "s1-a": 'Sag "hallo".',
        "s1-c": "ein Tab \\ hier",
        "s1-l": "Anders.",
    }
    assert kinds(report) == {
        "a.mp3": "repeated line",
        "b": "wrong number of fields",
        "d": "duplicate clip",
        "e": "missing clip",
        "f": "empty translation",
        "g.txt": "missing clip",
        "h": "bad clip name",
        "i": "empty transcript",
        "j": "no client_id",
        "k": "wrong number of fields",
        "l": "another extension",
        "m": "letters other than A-Z",
    }
    assert any("lines 6 and 7 differ" in item.detail for item in report.items)


def test_translations_marked_for_removal(corpus):
    marked = ["[TO REMOVE]", "REMOVE", "(remove)", "Bitte nimm deinen Hut ab. [to be removed]"]
    rows = [f"{n}.mp3\tThis is a sentence.\t{m}\ts1" for n, m in zip("abcd", marked, strict=True)]
    (corpus / "en" / "clips" / "e.mp3").write_bytes(b"")
    rows.append("e.mp3\tPlease remove your hat.\tPlease remove your hat.\ts1")
    for part in ("train", "dev", "test"):
        write_split_form(corpus, part, rows)
        data, report = read(corpus, part)
        what = "noted" if part == "test" else "left out"
        assert report.counts() == {(what, "marked for removal"): 4}
        assert len(data) == (5 if part == "test" else 1)
        assert data.translation("de")["s1-e"] == "Please remove your hat."
    assert "line 3: REMOVE" in {item.detail for item in report.items}


def test_a_mark_in_one_direction_is_none_in_another(corpus):
    for target, text in (("de", "Wo?"), ("ca", "[TO REMOVE]")):
        rows = [f"a.mp3\t{text}\ttrain", "b.mp3\tOn ets?\ttrain"]
        write(corpus / f"covost_v2.en_{target}.tsv", "path\ttranslation\tsplit", rows)
    assert len(read(corpus, direction=Direction("en", ["de"]))[0]) == 2
    data, report = read(corpus, direction=Direction("en", ["de", "ca"]))
    assert len(data) == 1 and report.ids_left_out() == {"a"}


def test_files_of_another_system(corpus):
    path = corpus / "covost_v2.en_de.tsv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\n\xff\tx\n")
    data, report = read(corpus)
    assert len(data) == 2
    assert {item.kind for item in report.items} == {
        "byte order mark",
        "CR LF line ends",
        "blank line",
        "not UTF-8 text",
    }


def test_quotes_of_common_voice_are_undone(corpus):
    path = corpus / "en" / "validated.tsv"
    path.write_text(path.read_text().replace("Where are you?", '"He said ""no"" twice."'))
    data, report = read(corpus)
    assert data.text["00000000000000000000-b"] == "HE SAID NO TWICE"
    assert kinds(report) == {"b.mp3": "doubled quotes"}


@pytest.mark.parametrize("part", ["train", "dev", "test"])
def test_doubled_quotes_of_translations_are_undone_but_in_tests(corpus, part):
    """In the form of four columns, whose part is the file's name."""
    rows = ['a.mp3\tYes.\tEr rief ""ja"" und "nein".\ts1', 'b.mp3\tNo.\t"""Nein"", so er."\ts1']
    write_split_form(corpus, part, rows)
    data, report = read(corpus, part)
    if part == "test":
        assert data.translation("de")["s1-a"] == 'Er rief ""ja"" und "nein".' and not report.items
    else:
        assert data.translation("de") == {
            "s1-a": 'Er rief "ja" und "nein".',
            "s1-b": '"Nein", so er.',
        }
        assert kinds(report) == {"a.mp3": "doubled quotes", "b.mp3": "doubled quotes"}


@pytest.mark.parametrize(
    ("name", "header", "message"),
    [
        ("covost_v2.en_de.tsv", "path\tsplit", "no column translation"),
        ("covost_v2.en_de.tsv", "path,translation,split", "no column path, translation"),
        ("covost_v2.en_de.tsv", "path\ttranslation\tpath", "a column twice"),
        ("covost_v2.en_de.tsv", "", "a header with the columns path translation"),
        ("en/validated.tsv", "client_id\tpath", "no column sentence"),
    ],
)
def test_missing_columns_are_named(corpus, name, header, message):
    (corpus / name).write_text(f"{header}\n" if header else "")
    with pytest.raises(ValueError, match=message) as error:
        read(corpus)
    assert str(corpus / name) in str(error.value)


def test_columns_of_neither_form(corpus):
    rows = ["a.mp3\tEins.\ts1"]
    write(corpus / "covost_v2.en_de.tsv", "path\ttranslation\tclient_id", rows)
    with pytest.raises(ValueError, match="translation client_id. expected, found path translation"):
        read(corpus)


def test_languages_and_folders_that_are_not_there(corpus):
    with pytest.raises(ValueError, match=r"no translations of en into fr.*there: en_de"):
        read(corpus, direction=Direction("en", ["fr"]))
    (corpus / "covost_v2.en_fr.tsv.tar.gz").write_bytes(b"")
    with pytest.raises(ValueError, match="still packed; unpack it: tar"):
        read(corpus, direction=Direction("en", ["fr"]))
    with pytest.raises(ValueError, match="has no clips/"):
        read_covost(corpus, corpus, EN_DE, "train")
    with pytest.raises(ValueError, match="different source and target"):
        Direction("en", ["en"])
    with pytest.raises(Refused, match="no clip.*2 missing clip"):
        for path in (corpus / "en" / "clips").iterdir():
            path.unlink()
        read(corpus)


def test_transcripts():
    assert (
        plain_transcript("„Grüß Gott“, sagte O’Neil – 3 Mal!", "de")
        == "GRÜSS GOTT SAGTE O'NEIL 3 MAL"
    )
    assert plain_transcript("Isn't it 5?", "en") == "ISN'T IT FIVE"
    assert plain_transcript("你好，世界。", "zh-CN") == "你好 世界"
    assert short_names(["a" * 20 + "x", "a" * 20 + "y"])["a" * 20 + "x"] == "a" * 20 + "x"


def test_escapes():
    assert split_fields("a\\\tb\tc\\\\d") == ["a\tb", "c\\d"]
    assert split_fields("a\\") is None


def test_data_directories_carry_translations(corpus, tmp_path):
    write_split_form(corpus)
    data, _ = read(corpus)
    data.write(tmp_path / "data")
    again = DataDir.read(tmp_path / "data")
    assert again == data and (tmp_path / "data" / "text.de").is_file()
    split(tmp_path / "data", tmp_path / "parts", 2)
    parts = [DataDir.read(tmp_path / "parts" / number) for number in "12"]
    assert combine(parts) == data
    parts[0].translations.clear()
    assert combine(parts).translations == {}
    parts[0].write(tmp_path / "data")
    assert not (tmp_path / "data" / "text.de").exists()
    with pytest.raises(ValueError, match=r"text.de have different ids: speakerd-d"):
        DataDir(data.wav, data.utt2spk, translations={"de": dict.fromkeys(data.ids[:3], "x")})


def test_checks_of_data_directories_with_translations(corpus, tmp_path, helpers):
    write_split_form(corpus)
    read(corpus)[0].write(tmp_path / "data")
    for name, old, new in (("text", " NEVER", " ÉTÉ"), ("text.de", " So geht es.", "")):
        path = tmp_path / "data" / name
        path.write_text(path.read_text().replace(old, new))
    data, report = helpers.checked(tmp_path / "data")
    assert data.text["speakerc-c"] == "ÉTÉ"
    assert kinds(report) == {"speakerd-d": "empty translation"}


def test_mp3s_become_flac_and_bad_ones_are_listed(corpus, tmp_path, helpers):
    clips = corpus / "en" / "clips"
    write_split_form(corpus)
    (clips / "b.mp3").write_bytes(b"")
    (clips / "c.mp3").write_bytes(b"\x00" * 3000)
    read(corpus)[0].write(tmp_path / "data")
    options = FormatOptions(max_seconds=1.25, max_bad_share=1.0)
    data, report = helpers.dump_of(tmp_path / "data", tmp_path / "dump", options, 2)
    assert kinds(report) == {
        "speakerb-b": "empty audio",
        "speakerc-c": "unreadable audio",
        "speakerd-d": "too long",
    }
    assert list(data.translation("de")) == ["speakera-a"]
    assert data.wav["speakera-a"].endswith("dump/audio/speakera-a.flac")
    wave = read_audio(data.wav["speakera-a"])
    assert data.n_samples["speakera-a"] == len(wave) and abs(len(wave) - 16000) < 1500
    before = os.stat(data.wav["speakera-a"]).st_mtime_ns
    helpers.dump_of(tmp_path / "data", tmp_path / "dump", options)
    assert os.stat(data.wav["speakera-a"]).st_mtime_ns == before


def test_common_voice_alone(run_main, corpus):
    data, report = read_common_voice(corpus / "en", "validated.tsv", "en")
    assert len(data) == 4 and not report.items and data.translations == {}
    assert set(data.text.values()) >= {"NEVER", "SO IT GOES"}
    speech, _ = read_common_voice(corpus / "en", "validated.tsv", "en", with_text=False)
    assert speech.text is None and speech.wav == data.wav
    with pytest.raises(ValueError, match=r"train.tsv expected"):
        read_common_voice(corpus / "en", "train.tsv", "en")
    words = ["--release", corpus / "en", "--language", "en", "--without_text"]
    words += ["--output", corpus / "out"]
    result = run_main("prepare_common_voice", *words)
    assert result.returncode == 0 and "4 utterances, 4 speakers" in result.stderr, result.stderr
    assert DataDir.read(corpus / "out") == speech
    read(corpus, "test")[0].write(corpus / "test")
    result = run_main("prepare_common_voice", *words, "--exclude", corpus / "test")
    assert result.returncode == 0 and "filtered: 1 excluded" in result.stderr, result.stderr
    rest = DataDir.read(corpus / "out")
    assert len(rest) == 3 and not set(rest.wav) & set(DataDir.read(corpus / "test").wav)


def release_of(folder: Path, files: list[str], rows: list[str]) -> Path:
    """A release with these clips and validated.tsv of `client_id path sentence` rows."""
    (folder / "clips").mkdir(parents=True)
    for name in files:
        (folder / "clips" / name).write_bytes(b"")
    write(folder / "validated.tsv", "client_id\tpath\tsentence", rows)
    return folder


def test_clips_are_found_by_their_stem(tmp_path):
    files = ["a.mp3", "b.WAV", "c.wav", "c.mp3", "d.mp3", "e.ogg", "._f.mp3", "g.txt", "h.i.mp3"]
    names = ["a", "b", "c", "d.MP3", "e.mp3", "f", "g.txt", "h.i", "j"]
    release = release_of(tmp_path, files, [f"s\t{name}\tHello there" for name in names])
    data, report = read_common_voice(release, "validated.tsv", "en")
    found = {u: Path(path).name for u, path in data.wav.items()}
    assert found == {
        "s-a": "a.mp3",
        "s-b": "b.WAV",
        "s-c": "c.mp3",
        "s-d": "d.mp3",
        "s-e": "e.ogg",
        "s-h.i": "h.i.mp3",
    }
    assert kinds(report) == {
        "e": "another extension",
        "f": "missing clip",
        "g.txt": "wrong extension",
        "j": "missing clip",
    }
    assert any("j.mp3 expected, or with .flac" in item.detail for item in report.items)


def test_a_clip_with_and_without_ending_is_one(tmp_path):
    rows = ["s\ta\tHello there", "s\ta.mp3\tHello there", "s\tb\tHello", "s\tb.mp3\tOther"]
    release = release_of(tmp_path, ["a.mp3", "b.mp3", "c.mp3"], [*rows, "s\tc\tGood day"])
    data, report = read_common_voice(release, "validated.tsv", "en")
    assert data.ids == ["s-a", "s-c"]
    assert report.counts() == {("fixed", "repeated line"): 1, ("left out", "duplicate clip"): 1}


def test_translations_of_clips_without_endings(corpus):
    path = corpus / "en" / "validated.tsv"
    path.write_text(path.read_text().replace(".mp3", ""))
    assert len(read(corpus)[0]) == 2 and not read(corpus)[1].items


def test_names_of_clips_that_are_no_ids(tmp_path):
    names = ["clip one", "clip%20one", "x" * 200, "e\u0301t\u00e9"]
    rows = [f"s p\t{name}.mp3\tHello there" for name in names]
    release = release_of(tmp_path, [f"{name}.mp3" for name in names], rows)
    data, report = read_common_voice(release, "validated.tsv", "en")
    data.write(tmp_path / "data")
    assert DataDir.read(tmp_path / "data") == data and len(data) == 3
    assert {"s_p-clip%20one", "s_p-\u00e9t\u00e9"} < set(data.wav)
    assert data.wav["s_p-clip%20one"].endswith("/clip one.mp3")
    assert report.counts() == {("fixed", "name that is no id"): 2, ("left out", "duplicate id"): 1}
    assert ("s_p-clip%20one", "the name is 'clip one'") in {
        (item.utterance, item.detail) for item in report.items
    }


def test_speakers_that_look_alike_are_told_apart():
    clients = ["a b", "a-b", "x" * 70 + "1", "x" * 70 + "2", "\u00e9", "\u00e8"]
    names = short_names(clients)
    assert len(set(names.values())) == len(clients)
    assert all(len(name) <= 60 and name.replace("_", "").isalnum() for name in names.values())


def test_excluded_clips_of_a_converted_data_directory(run_main, corpus, tmp_path, helpers):
    read(corpus, "test")[0].write(tmp_path / "data")
    helpers.dump_of(tmp_path / "data", tmp_path / "dump", FormatOptions())
    words = ["--release", corpus / "en", "--language", "en", "--output", tmp_path / "out"]
    for place in ("data", "dump", "data/wav.scp", "dump/wav.scp", "dump/text"):
        result = run_main("prepare_common_voice", *words, "--exclude", tmp_path / place)
        assert result.returncode == 0 and "filtered: 1 excluded" in result.stderr, result.stderr
        assert not any(u.endswith("-d") for u in DataDir.read(tmp_path / "out").wav)
    write(tmp_path / "other", "nothing.mp3", [])
    result = run_main("prepare_common_voice", *words, "--exclude", tmp_path / "other")
    assert "none of the 1 names of recordings to exclude is among the 4 clips" in result.stderr


def test_refusals_leave_a_report(run_main, corpus, tmp_path):
    words = ["--release", corpus / "en", "--language", "en", "--output", tmp_path / "out"]
    for path in (corpus / "en" / "clips").iterdir():
        path.unlink()
    result = run_main("prepare_common_voice", *words)
    report = tmp_path / "out" / "report.tsv"
    assert result.returncode == 1 and f"(report: {report})" in result.stderr
    assert "# refused: no clip of" in report.read_text()
    assert "# left out, missing clip: 4" in report.read_text()
    words[1] = corpus
    result = run_main("prepare_common_voice", *words)
    assert result.returncode == 1 and "has no clips/ (report:" in result.stderr
    assert report.read_text().startswith("# refused: Common Voice's folder")


def test_main(run_main, corpus):
    write_split_form(corpus, rows=["a.mp3\tA.\tA.\ts1", "e.mp3\tB.\tB.\ts1"])
    words = ["--common_voice", corpus / "en", "--translations", corpus, "--source", "en"]
    words += ["--target", "de", "--part", "train", "--output", corpus / "out"]
    result = run_main("prepare_covost", *words)
    assert result.returncode == 1 and "1 of 2 utterances are wrong" in result.stderr
    assert "missing clip: 1" in (corpus / "out" / "report.tsv").read_text()
    assert not (corpus / "out" / "wav.scp").exists()
    result = run_main("prepare_covost", *words, "--max_bad_share", 0.5)
    assert result.returncode == 0 and "1 utterances, 1 speakers; left out: 1" in result.stderr
    assert (corpus / "out" / "text.de").read_text() == "s1-a A.\n"


def test_real_german_clips(shared, tmp_path, helpers):
    release, tsv = shared / "data" / "cv-corpus-6.1" / "de", shared / "data" / "covost2"
    to_english = Direction("de", ["en"])
    data, report = read_covost(release, tsv / "de_en.rsample100_matched.tsv", to_english, "test")
    assert len(data) == 36 and not report.items
    data, report = read_covost(release, tsv, to_english, "dev")
    assert len(data) == 5
    assert report.counts() == {
        ("left out", "missing clip"): 13495,
        ("left out", "marked for removal"): 9,
        ("fixed", "doubled quotes"): 21,
    }
    data.write(tmp_path / "data")
    dump, report = helpers.dump_of(tmp_path / "data", tmp_path / "dump", FormatOptions())
    assert (
        len(dump) == 5
        and not report.items
        and len(
            read_tsv(
                tsv / "covost_v2.de_en.test.tsv", ("path", "sentence", "translation"), Report()
            )
        )
        == 13509
    )
