"""Tables some lines at a time: the same as line by line, and the same errors."""

import numpy as np
import pytest

from speechlm.data import table_blocks as module
from speechlm.data.kaldi_dir import read_table
from speechlm.data.table_blocks import count_lines, merge_tables, numbers, table_blocks


@pytest.fixture(params=[1, 7, 64, 1 << 22])
def block(request, monkeypatch):
    """Bytes that are read at a time: a line is cut, or all are read at once."""
    monkeypatch.setattr(module, "_BLOCK", request.param)


def as_dict(path) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in table_blocks(path):
        assert len(part) == len(part.ids) == len(part.values)
        found |= {
            key.decode(): value.decode()
            for key, value in zip(part.ids.tolist(), part.values.tolist(), strict=True)
        }
    return found


PLAIN = b"a 1\nb /x/y z.flac\nb-1 three words here\n\xc3\xa9 \xe2\x82\xac\n"
ODD = {
    "no_end": b"a 1\nb 2",
    "blanks": b"a   1\nb 2  \n c 3\nd\t4\ne x\ty\nf 5\n",
    "other_blanks": "a 1\nb\u00a02\nc x\u2003y\nd \u20283\n".encode(),
    "separators": b"a\x1c1\nb 2\n",
    "empty_file": b"",
    "blank_inside": b"a x  y\nb z\n",
}


@pytest.mark.parametrize("content", [PLAIN, *ODD.values()], ids=["plain", *ODD])
def test_lines_are_those_of_read_table(block, tmp_path, content):
    path = tmp_path / "table"
    path.write_bytes(content)
    assert as_dict(path) == read_table(path)
    assert count_lines(path) == len(read_table(path))
    for part in table_blocks(path):
        for at, key in zip(part.at, part.ids, strict=True):
            assert content[at:].lstrip().startswith(key)
            assert at == 0 or content[at - 1 : at] == b"\n"


WRONG = {
    "blank_line": b"a 1\n\nb 2\n",
    "no_value": b"a 1\nb\nc 2\n",
    "no_value_but_a_blank": b"a 1\nb \n",
    "order": b"a 1\nc 2\nb 3\n",
    "order_of_bytes": b"a 1\nB 2\n",
    "twice": b"a 1\nb 2\nb 3\n",
    "twice_apart": b"a 1\nb 2\na 3\n",
    "carriage_return": b"a 1\r\nb 2\r\n",
    "carriage_return_inside": b"a 1\nb 2\r3\n",
    "zero": b"a 1\nb \0\n",
    "byte_order_mark": b"\xef\xbb\xbfa 1\nb 2\n",
    "latin_1": b"a 1\nb \xe9\n",
    "utf_16": "a 1\nb 2\n".encode("utf-16"),
    "not_there": None,
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_errors_are_those_of_read_table(block, tmp_path, content):
    path = tmp_path / "table"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError) as plain:
        read_table(path)
    with pytest.raises(ValueError) as ours:
        list(table_blocks(path))
    assert str(ours.value) == str(plain.value)


def test_numbers():
    words = ["0", "7", "00012", "9" * 18, "9" * 19, "", "1a", "-1", "+1", "1_0", "²", " 1"]
    text = "|".join(words).encode()
    stops = np.cumsum([len(word.encode()) + 1 for word in words]) - 1
    starts = np.append(0, stops[:-1] + 1)
    found = numbers(np.frombuffer(text, np.uint8), starts, stops)
    assert found.tolist() == [0, 7, 12, 10**18 - 1] + [-1] * 8


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("apart", [True, False])
def test_tables_are_merged(block, tmp_path, parts, apart):
    lines = [f"u{n:03d} value {n}\n" for n in range(50)]
    whole = "".join(lines)
    shares = [lines[n::parts] for n in range(parts)]
    if apart:
        shares = [[lines[i] for i in part] for part in np.array_split(np.arange(50), parts)][::-1]
    paths = [tmp_path / str(n) for n in range(parts)]
    for path, share in zip(paths, shares, strict=True):
        path.write_text("".join(share))
    (tmp_path / "empty").write_text("")
    with (tmp_path / "all").open("wb") as file:
        assert merge_tables([*paths, tmp_path / "empty"], file) == 50
    assert (tmp_path / "all").read_text() == whole


def test_an_id_in_two_tables_is_named(tmp_path):
    for name, text in (("1", "a 1\nc 2\nd 3\n"), ("2", "b 1\nc 9\nd 9\n")):
        (tmp_path / name).write_text(text)
    with (
        (tmp_path / "all").open("wb") as file,
        pytest.raises(ValueError, match="2: ids that another job has too: c d"),
    ):
        merge_tables([tmp_path / "1", tmp_path / "2"], file)


def test_an_id_of_great_length_is_an_error_that_names_the_table(tmp_path):
    (tmp_path / "1").write_text(f"a 1\n{'b' * 5000} 2\n")
    with pytest.raises(ValueError, match=f"{tmp_path}/1: ids .* 4096 .*, but there are 5000 from"):
        list(table_blocks(tmp_path / "1"))
