"""Names and sentences in Markdown are read as they are written."""

import html
import re

import pytest

from speechlm.score.markdown import code, escape, markdown_table
from speechlm.score.page import page


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


@pytest.mark.parametrize(
    "text", ["./run.sh --tag $(date) | a", "a `b` c", "`", "``x", "a``b`", "<b> & *x* \\"]
)
def test_code_is_read_as_it_was_written(text, tmp_path):
    (shown,) = re.findall("<code>(.*?)</code>", page(f"# T\n\nx {code(text)} y", tmp_path))
    assert html.unescape(shown) == text
