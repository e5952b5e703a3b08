"""TextGrids in both text forms and in other encodings, damaged ones, and where they are found."""

import pytest

from speechlm.score.textgrid import Interval, find_textgrids, read_intervals

LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1.0
tiers? <exists>
size = 3
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 1.0
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 1.0
            text = "at ""home"" 3"
    item [2]:
        class = "TextTier"
        name = "phones"
        xmin = 0
        xmax = 1.0
        points: size = 1
        points [1]:
            number = 0.5
            mark = "x"
    item [3]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 1.0
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = ""
        intervals [2]:
            xmin = 0.5
            xmax = 7.5e-1
            text = "AE1"
        intervals [3]:
            xmin = 0.75
            xmax = 1.0
            text = "T"
"""
SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
1.0
<exists>
3
"IntervalTier"
"words"
0
1.0
1
0
1.0
"at ""home"" 3"
"TextTier"
"phones"
0
1.0
1
0.5
"x"
"IntervalTier"
"phones"
0
1.0
3
0
0.5
""
0.5
0.75
"AE1"
0.75
1.0
"T"
"""
PHONES = [Interval(0, 0.5, ""), Interval(0.5, 0.75, "AE1"), Interval(0.75, 1, "T")]
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be")


@pytest.mark.parametrize("content", [LONG, SHORT])
@pytest.mark.parametrize("bom", [False, True])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_forms_and_encodings(tmp_path, content, bom, encoding, end):
    text = content.replace("\n", end)
    if bom and encoding.endswith("e"):
        text = "\ufeff" + text
    (tmp_path / "a.TextGrid").write_bytes(text.encode(encoding))
    assert read_intervals(tmp_path / "a.TextGrid", "phones") == PHONES
    words = read_intervals(tmp_path / "a.TextGrid", "words")
    assert words == [Interval(0, 1, 'at "home" 3')]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("size = 3\n        intervals [1]", "size = 2\n        intervals [1]"),
        ("size = 3\n        intervals [1]", "size = 9\n        intervals [1]"),
        ("\n1.0\n3\n0\n0.5\n", "\n1.0\n2\n0\n0.5\n"),
        ("\nsize = 3\nitem", "\nsize = 1\nitem"),
        (
            "xmin = 0\nxmax = 1.0\ntiers",
            '! a comment with 5 and "text"\nxmin = 0\nxmax = 1.0\ntiers',
        ),
    ],
)
def test_wrong_counts_and_comments_do_no_harm(tmp_path, old, new):
    changed = (LONG if old in LONG else SHORT).replace(old, new)
    assert changed not in (LONG, SHORT)
    (tmp_path / "a.TextGrid").write_text(changed)
    assert read_intervals(tmp_path / "a.TextGrid", "phones") == PHONES


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LONG[:-40], "cut off in the tier 'phones'"),
        (SHORT[: -len('"T"\n')], "cut off in the tier 'phones'"),
        (SHORT.replace("0.5\n0.75\n", "0.75\n"), "a start and an end expected before 'AE1'"),
        (SHORT.replace("0.75\n1.0\n", "0.3\n0.4\n"), "not in the order of time"),
        (SHORT.replace('"phones"', '"phone"'), "no intervals in a tier called 'phones'"),
        (SHORT.replace('"TextGrid"', '"PitchTier"'), "a TextGrid expected"),
        ("", "a TextGrid expected"),
        ("ooBinaryFile\x08TextGrid", "a binary TextGrid"),
        (SHORT.encode() + b'"\xe9"', "text in UTF-8 or UTF-16 expected"),
    ],
)
def test_damaged_ones_are_named(tmp_path, content, message):
    path = tmp_path / "a.TextGrid"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message) as error:
        read_intervals(path, "phones")
    assert str(path) in str(error.value)


def test_they_are_found_at_any_depth_but_not_in_hidden_places(tmp_path):
    names = ["a.TextGrid", "deep/er/b.textgrid", "my file.TextGrid"]
    hidden = ["._a.TextGrid", ".trash/c.TextGrid", "__MACOSX/d.TextGrid", "notes.txt"]
    for name in [*names, *hidden]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert find_textgrids(tmp_path) == {
        "a": tmp_path / names[0],
        "b": tmp_path / names[1],
        "my%20file": tmp_path / names[2],
    }
    (tmp_path / "deep" / "a.TextGrid").touch()
    with pytest.raises(ValueError, match="two TextGrids of a: .*deep/a.TextGrid"):
        find_textgrids(tmp_path)
    with pytest.raises(ValueError, match="nowhere is not there"):
        find_textgrids(tmp_path / "nowhere")
