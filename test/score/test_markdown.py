"""Names and sentences in Markdown are read as they are written."""

import pytest

from speechlm.score.markdown import escape, markdown_table


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("speech_text", "speech_text"),
        ("_a_ b__", r"\_a\_ b\_\_"),
        ("a|b", r"a\|b"),
        ("a\\|b", r"a\\\|b"),
        ("*** `x` ~y~ $z$", r"\*\*\* \`x\` \~y\~ \$z\$"),
        ("<unk> &amp; </s>", r"\<unk> \&amp; \</s>"),
        ("p < 0.05 & AT&T", r"p < 0.05 & AT\&T"),
        ("[1.0, 2.0] [a](b) [c][d] [e]: f", r"[1.0, 2.0] [a]\(b) [c]\[d] [e]\: f"),
        ("two\nlines\tand  blanks", "two lines and blanks"),
    ],
)
def test_markup_is_escaped(text, written):
    assert escape(text) == written


def test_cells_stay_in_their_columns():
    table = markdown_table(("x", "y|z"), [("a\\", "b"), ("c|", "d\ne")])
    assert table == "|x|y\\|z|\n|---|---|\n|a\\\\|b|\n|c\\||d e|\n"
