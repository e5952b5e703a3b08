"""What all pictures share: words in the file, size, colors that can be told apart."""

import itertools

import numpy as np
import pytest
from PIL import Image

from speechlm.pictures.gallery import show_pictures
from speechlm.pictures.look import STYLES, About, label_of, legend, picture, read_about, write_cells

# Colors as people without the sensors for green, or for red, see them, in linear light (Viénot,
# Brettel and Mollon 1999); and as grey, where all that is left is luminance.
SEEN = {
    "deuteranopia": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
    "protanopia": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
    "grey": [[0.2126, 0.7152, 0.0722]] * 3,
}


def color(style, matrix):
    """(3,) in 0..1, as it is seen."""
    values = np.array([int(style.color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.clip(np.array(matrix) @ values**2.2, 0, 1) ** (1 / 2.2)


@pytest.mark.parametrize("kind", SEEN)
def test_the_first_things_can_be_told_apart(kind):
    """By color, or, in grey, neighbors by lightness; by the form of their marks in any case."""
    seen = [color(style, SEEN[kind]) for style in STYLES]
    pairs = itertools.pairwise(seen[:4]) if kind == "grey" else itertools.combinations(seen[:5], 2)
    assert min(np.abs(a - b).max() for a, b in pairs) > 0.12
    assert len({style.marker for style in STYLES}) == len(STYLES)


def test_a_picture_says_what_it_shows(tmp_path):
    about = About("Läng of <b>", "A | caption — with more.\nAnd a line.")
    with picture(tmp_path / "new" / "a.png", about, 3, 2, 2, columns=2) as axes:
        for number, one in enumerate(axes):
            one.plot([0, 1], [0, number], label="same" if number else "first")
        legend(axes)
        figure = axes[0].figure
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["first", "same"]
    assert len(figure.axes) == 3 and read_about(tmp_path / "new" / "a.png") == about
    with Image.open(tmp_path / "new" / "a.png") as image:
        assert image.size == (480, 480)
    shown = show_pictures([str(tmp_path / "new" / "a.png")], [("rates", "none | left")], tmp_path)
    assert shown.startswith(r"![Läng of \<b>](new/a.png)")
    assert r"**Läng of \<b>.** A \| caption — with more. And a line." in shown
    assert r"Not drawn:" in shown and r"- rates: none \| left" in shown
    (tmp_path / "b.png").write_text("<svg>")
    for name in ("b.png", "gone.png"):
        with pytest.raises(ValueError, match=rf"{name}: a picture \(PNG\) expected"):
            read_about(tmp_path / name)


def test_a_picture_that_fails_leaves_no_file(tmp_path):
    with pytest.raises(RuntimeError), picture(tmp_path / "a.png", About("", "")):
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_letters_on_dark_cells_are_light(tmp_path):
    with picture(tmp_path / "a.png", About("", "")) as (axes,):
        table = np.array([[0.0, 1.0, np.nan]])
        write_cells(axes, axes.imshow(table, cmap="Greys"), [["a", "b", "c"]], 9)
        letters = {text.get_text(): text.get_color() for text in axes.texts}
    assert letters == {"a": "black", "b": "white"}


@pytest.mark.parametrize("name", ["a$b$c", r"$\frac{$", "_hidden", "größe"])
def test_names_are_drawn_as_they_are(tmp_path, name):
    with picture(tmp_path / "a.png", About("", "")) as (axes,):
        axes.plot([0, 1], [0, 1], label=label_of(name))
        axes.set_title(name)
        legend([axes])
        figure = axes.figure
    assert [t.get_text().strip() for t in figure.legends[0].get_texts()] == [name]
    assert (tmp_path / "a.png").is_file()


def test_characters_without_a_font_are_said_in_one_line(tmp_path, caplog, recwarn):
    with picture(tmp_path / "a.png", About("", "")) as (axes,):
        axes.set_title("日本語, 日本")
    (line,) = caplog.messages
    assert "a.png: boxes stand for 3 characters without a font" in line and not recwarn.list
