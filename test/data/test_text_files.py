"""Books and other text files to one sentence a line."""

import gzip
import tracemalloc

import pytest

from speechlm.data.books import read_paragraphs
from speechlm.data.text_files import TextOptions, find_files, normalize_files
from speechlm.data.text_normalize import SentenceOptions, is_normal
from speechlm.data.unspoken import ADDRESS, MARKS, MARKUP, NUMBER

BOOK = """The Project Gutenberg EBook of Nothing, by Nobody
This eBook is for the use of anyone anywhere.

*** START OF THIS PROJECT GUTENBERG EBOOK NOTHING ***

Produced by A. Volunteer

NOTHING AT ALL

CONTENTS

I. The Beginning          1
II. The Middle           20
III. The End            300

CHAPTER I

_The Beginning_ was slow; nobody came to the after-
noon party of Mr. Low.

       *       *       *       *       *

[Illustration: A dog.]

"Who is there?" asked he.

II

It was I, and I alone.

THE END

*** END OF THIS PROJECT GUTENBERG EBOOK NOTHING ***

You may copy it, give it away or re-use it.
"""
SENTENCES = [
    "THE BEGINNING WAS SLOW NOBODY CAME TO THE AFTER NOON PARTY OF MISTER LOW",
    "WHO IS THERE ASKED HE",
    "IT WAS I AND I ALONE",
]


def lines(path):
    return path.read_text().splitlines()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_book(tmp_path, end):
    (tmp_path / "a book.txt").write_bytes(("\ufeff" + BOOK).replace("\n", end).encode())
    report = normalize_files([tmp_path / "a book.txt"], tmp_path / "out", TextOptions())
    assert lines(tmp_path / "out") == SENTENCES
    assert report.dropped == {
        "around the book": 2,
        "credits": 1,
        "heading": 5,
        "table": 1,
        "no words": 2,
    }
    report.write(tmp_path / "report")
    assert (
        "heading: 5, such as\n  a book.txt:8: NOTHING AT ALL" in (tmp_path / "report").read_text()
    )


def test_a_packed_book_without_markers(tmp_path):
    body = BOOK.split("***")[2]
    with gzip.open(tmp_path / "b.txt.gz", "wt") as file:
        file.write(body + "\nEnd of Project Gutenberg's Nothing\n\nLicence text follows here.\n")
    normalize_files([tmp_path / "b.txt.gz"], tmp_path / "out", TextOptions())
    assert lines(tmp_path / "out") == SENTENCES


def test_two_books_in_one_file(tmp_path):
    (tmp_path / "two.txt").write_text(BOOK + BOOK)
    normalize_files([tmp_path / "two.txt"], tmp_path / "out", TextOptions())
    assert lines(tmp_path / "out") == SENTENCES * 2


def test_damaged_archive_and_binary(tmp_path):
    with gzip.open(tmp_path / "b.gz", "wt") as file:
        file.write("HELLO YOU\n" * 10000)
    (tmp_path / "b.gz").write_bytes((tmp_path / "b.gz").read_bytes()[:-20])
    (tmp_path / "c").write_bytes(b"abc\0def\n")
    for name, message in (("b.gz", "cannot be unpacked"), ("c", "c:1: text expected")):
        with pytest.raises(ValueError, match=message):
            normalize_files([tmp_path / name], tmp_path / "out", TextOptions())
    assert not (tmp_path / "out").exists()


def test_normal_lines_stay_as_they_are(tmp_path):
    content = ["I AM HERE", "CHAPTER I", "YES", "A " * 60 + "B", "MIX IT"]
    (tmp_path / "lm").write_text("\n".join(content))
    normalize_files([tmp_path / "lm"], tmp_path / "out", TextOptions())
    assert lines(tmp_path / "out") == content


def test_raw_lines(tmp_path):
    (tmp_path / "raw").write_text("He's 20. She is 21.\nDr. No came.\n")
    normalize_files([tmp_path / "raw"], tmp_path / "out", TextOptions())
    assert lines(tmp_path / "out") == ["HE'S TWENTY", "SHE IS TWENTY ONE", "DOCTOR NO CAME"]


def test_windows_text_is_named(tmp_path, caplog):
    content = "the café he saw\n".encode() + "the “caf\u00e9” he saw\n".encode("cp1252")
    (tmp_path / "old.txt").write_bytes(content)
    normalize_files([tmp_path / "old.txt"], tmp_path / "out", TextOptions())
    assert lines(tmp_path / "out") == ["THE CAFE HE SAW"] * 2
    assert "old.txt:2: not UTF-8, as 1 lines in all" in caplog.text and "iconv" in caplog.text


def test_wide_text_is_refused(tmp_path):
    (tmp_path / "wide.txt").write_bytes("he saw it\n".encode("utf-16"))
    with pytest.raises(ValueError, match="wide.txt: .* this is UTF-16; .*iconv -f UTF-16"):
        normalize_files([tmp_path / "wide.txt"], tmp_path / "out", TextOptions())


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("raw", [True, False])
def test_blank_lines_make_no_book(tmp_path, caplog, end, raw):
    sentence = "He saw {} of them." if raw else "HE SAW {} OF THEM"
    content = [sentence.format(word.lower() if raw else word) for word in SENTENCES[0].split()]
    for blank in ("", " \t"):
        text = end.join([*content[:5], blank, blank, *content[5:], blank, ""])
        (tmp_path / "in").write_bytes(text.encode())
        normalize_files([tmp_path / "in"], tmp_path / "out", TextOptions())
        assert lines(tmp_path / "out") == [line.upper().strip(".") for line in content]
    with caplog.at_level("INFO"):
        normalize_files([tmp_path / "in"], tmp_path / "out", TextOptions())
    assert "in: a sentence or paragraph a line" in caplog.text
    normalize_files([tmp_path / "in"], tmp_path / "out", TextOptions("book"))
    if not raw:  # what ends with full stops is cut there in any case
        assert len(lines(tmp_path / "out")) < len(content)


@pytest.mark.parametrize("kind", ["auto", "lines", "book"])
@pytest.mark.parametrize("unit", ["He saw the dog. ", "HE SAW THE DOG ", "abcdefghijklmnop"])
def test_memory_does_not_grow_with_lines_or_paragraphs(tmp_path, kind, unit):
    peaks = []
    for size in (1_600_000, 4_800_000):  # characters; from a megabyte on nothing more is held
        (tmp_path / "in").write_text(unit * (size // len(unit)))
        tracemalloc.start()
        length = sum(len(paragraph.text) for paragraph in read_paragraphs(tmp_path / "in", kind))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert length > 0.95 * size
    assert peaks[1] < 1.1 * peaks[0] and peaks[1] < 8e6


def test_a_long_line_is_cut_where_sentences_end(tmp_path):
    (tmp_path / "in").write_text("Then he saw the dog. " * 20_000)
    report = normalize_files([tmp_path / "in"], tmp_path / "out", TextOptions())
    assert report.n_train == 20_000 and set(lines(tmp_path / "out")) == {"THEN HE SAW THE DOG"}


def test_long_paragraphs_are_cut_where_sentences_end(tmp_path):
    (tmp_path / "in").write_text("Then he saw\nthe dog. And\nit ran.\n" * 6_000)
    report = normalize_files([tmp_path / "in"], tmp_path / "out", TextOptions("book"))
    assert report.n_train == 12_000
    assert set(lines(tmp_path / "out")) == {"THEN HE SAW THE DOG", "AND IT RAN"}


def test_what_is_not_spoken_is_counted_with_its_reason(tmp_path):
    text = "He <unk> it.\nSee www.a.org for it.\nUse A7-X9/33q there.\nHe is here.\n"
    (tmp_path / "in").write_text(text)
    report = normalize_files([tmp_path / "in"], tmp_path / "out", TextOptions())
    assert lines(tmp_path / "out") == ["HE IS HERE"]
    assert report.dropped == dict.fromkeys([MARKS[m] for m in (MARKUP, ADDRESS, NUMBER)], 1)
    report.write(tmp_path / "report")
    assert "<?> THERE" in (tmp_path / "report").read_text()


def test_test_sentences_are_left_out(tmp_path):
    long = "ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE TEN"
    (tmp_path / "text").write_text(f"u1 HELLO THERE\nu2 {long}\nu3\n")
    content = ["HELLO THERE", "HELLO THERE YOU", "ZERO " + long.replace(" TEN", " OTHER")]
    content += ["THREE FOUR FIVE SIX SEVEN", long.lower()]
    (tmp_path / "in").write_text("\n".join(content))
    options = TextOptions()
    report = normalize_files([tmp_path / "in"], tmp_path / "out", options, [tmp_path / "text"])
    assert lines(tmp_path / "out") == ["HELLO THERE YOU", "THREE FOUR FIVE SIX SEVEN"]
    assert report.dropped["in an excluded transcript"] == 3
    exact = TextOptions(exclude_words=0)
    normalize_files([tmp_path / "in"], tmp_path / "out", exact, [tmp_path / "text"])
    assert lines(tmp_path / "out") == [*content[1:4]]


def test_held_out_sentences(tmp_path):
    words = ["ALPHA", "BETA", "GAMMA", "DELTA", "KAPPA", "OMEGA", "SIGMA", "THETA", "PI", "RHO"]
    content = [f"{a} {b} {c}" for a in words for b in words for c in words] * 2
    (tmp_path / "in").write_text("\n".join(content))
    train, dev = tmp_path / "train", tmp_path / "dev"
    options = TextOptions(dev_share=0.1, seed=3)
    report = normalize_files([tmp_path / "in"], train, options, dev_output=dev)
    assert report.n_train + report.n_dev == 2000
    assert 120 < report.n_dev < 280
    assert not set(lines(train)) & set(lines(dev))
    first = lines(dev)
    normalize_files([tmp_path / "in"], train, options, dev_output=dev)
    assert lines(dev) == first
    with pytest.raises(ValueError, match="belong together"):
        normalize_files([tmp_path / "in"], train, options)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("content", [["A B", "C D"], ["A B", "C D", "A B"], ["E F", "A B", "G H"]])
def test_a_small_text_has_something_held_out_too(tmp_path, content, seed):
    (tmp_path / "in").write_text("\n".join(content))
    train, dev = tmp_path / "train", tmp_path / "dev"
    options = TextOptions(dev_share=1e-12, seed=seed)
    report = normalize_files([tmp_path / "in"], train, options, dev_output=dev)
    held = set(lines(dev))
    assert len(held) == 1 and lines(train) == [s for s in content if s not in held]
    assert (report.n_train, report.n_dev) == (len(lines(train)), len(lines(dev)))


def test_a_larger_share_holds_out_what_a_smaller_one_does(tmp_path):
    """So a text's size decides nothing but how much is held out."""
    (tmp_path / "in").write_text("\n".join(f"{a} B" for a in "ACDEFGHIJKLMNOP"))
    held = []
    for share in (1e-12, 0.2, 0.5):
        options = TextOptions(dev_share=share)
        normalize_files([tmp_path / "in"], tmp_path / "train", options, (), tmp_path / "dev")
        held.append(set(lines(tmp_path / "dev")))
    assert len(held[0]) == 1 and held[0] < held[1] < held[2]


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_a_text_of_one_sentence_cannot_be_divided(tmp_path, share):
    (tmp_path / "in").write_text("A B\nA B\n")
    options, dev = TextOptions(dev_share=share), tmp_path / "dev"
    with pytest.raises(ValueError, match=f"more different sentences.*--dev_share {share}"):
        normalize_files([tmp_path / "in"], tmp_path / "out", options, dev_output=dev)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_nothing_left_and_nothing_there(tmp_path):
    (tmp_path / "in").write_text("12mo\n\n* * *\n")
    with pytest.raises(ValueError, match="no sentence is left of .*1 no words"):
        normalize_files([tmp_path / "in"], tmp_path / "out", TextOptions())
    with pytest.raises(ValueError, match="text file expected, but .* is not there"):
        normalize_files([tmp_path / "absent"], tmp_path / "out", TextOptions())
    with pytest.raises(ValueError, match="has no"):
        find_files([tmp_path])
    with pytest.raises(ValueError, match="one of auto, book, lines"):
        list(read_paragraphs(tmp_path / "in", "novel"))


def test_texts_of_a_folder(tmp_path):
    for name in ("b.TXT", "a.txt", "._a.txt", ".txt", "notes.md"):
        (tmp_path / name).touch()
    (tmp_path / "folder.txt").mkdir()
    assert [path.name for path in find_files([tmp_path])] == ["a.txt", "b.TXT"]


def test_the_novels(tmp_path, shared):
    out = tmp_path / "out"
    options = TextOptions(lengths=SentenceOptions(2, 40))
    book = shared / "data" / "text" / "14881.txt"
    report = normalize_files([book], out, options)
    kept = lines(out)
    assert all(map(is_normal, kept))
    assert max(len(s.split()) for s in kept) <= 40
    assert report.n_words > 0.95 * len(book.read_text().split())
    text = " ".join(kept)
    for odd in ("GUTENBERG", "ILLUSTRATION", "E TEXT"):
        assert odd not in text
    assert "ON THE TWELFTH OF MAY SEVENTEEN FORTY FOUR" in text
