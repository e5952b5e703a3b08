#!/usr/bin/env python3
"""Draws the figures of doc/method.md: doc/images/network.svg, tokenizers.svg and stages.svg.

Boxes are light with dark writing, lines and writing beside them of a grey that is seen on white and
on black, so that a page may be of either.
"""

import argparse
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COLORS = {
    "speech": ("#cfe3ff", "#3b78c3"),
    "text": ("#ffe2c4", "#c9781d"),
    "units": ("#d3efd5", "#3c9150"),
    "model": ("#e6ddf9", "#7a5cc0"),
    "loss": ("#fbd3d6", "#c2454f"),
    "plain": ("#e8eaed", "#868c96"),
}
"""Of a kind of box: (fill, edge)."""
GRAY = "#808793"
"""Of lines, and of writing outside of boxes."""
STYLE = f"""text {{ font: 14px sans-serif; fill: #1b1f24; text-anchor: middle }}
.small {{ font-size: 12px }}
.head {{ font-weight: bold }}
.out {{ fill: {GRAY} }}
.left {{ text-anchor: start }}
.line {{ fill: none; stroke: {GRAY}; stroke-width: 1.6; marker-end: url(#tip) }}
.dash {{ stroke-dasharray: 5 4 }}"""
TIP = f"""<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8"
 markerHeight="8" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{GRAY}"/></marker>"""


@dataclass(frozen=True)
class Box:
    """A rectangle of a figure, in pixels; (x, y) is its upper left corner."""

    x: int
    y: int
    width: int
    height: int

    @property
    def middle(self) -> int:
        """Horizontal middle."""
        return self.x + self.width // 2

    @property
    def center(self) -> int:
        """Vertical middle."""
        return self.y + self.height // 2

    @property
    def right(self) -> int:
        """Right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """Lower edge."""
        return self.y + self.height


@dataclass
class Figure:
    """A figure of width x height pixels; `said` is read out where it cannot be seen."""

    width: int
    height: int
    said: str
    parts: list[str] = field(default_factory=list)

    def box(self, place: tuple[int, int, int, int], kind: str, head: str, *lines: str) -> Box:
        """Draw a box with a bold line and smaller ones below it."""
        box = Box(*place)
        fill, edge = COLORS[kind]
        self.parts.append(
            f'<rect x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="7" '
            f'fill="{fill}" stroke="{edge}" stroke-width="1.4"/>'
        )
        # baselines: the block of lines, 17 pixels each, in the middle of the box
        first = box.center + 5 - 17 * len(lines) // 2
        if head:
            self.write(box.middle, first, head, "head")
        for number, line in enumerate(lines, 1):
            self.write(box.middle, first + 17 * number, line, "small")
        return box

    def write(self, x: int, y: int, text: str, kind: str = "out small") -> None:
        """Write a line; (x, y) is the middle of its baseline, its start with the kind `left`."""
        self.parts.append(f'<text x="{x}" y="{y}" class="{kind}">{escape(text)}</text>')

    def arrow(self, *points: tuple[int, int], dashed: bool = False) -> None:
        """Draw an arrow through the points."""
        way = " L".join(f"{x} {y}" for x, y in points)
        self.parts.append(f'<path class="line{" dash" * dashed}" d="M{way}"/>')

    def down(self, upper: Box, lower: Box) -> None:
        """Draw an arrow from a box to the one below it."""
        self.arrow((upper.middle, upper.bottom), (upper.middle, lower.y - 1))

    def across(self, left: Box, right: Box) -> None:
        """Draw an arrow from a box to the one at its right."""
        self.arrow((left.right, left.center), (right.x - 1, left.center))

    def cells(self, x: int, y: int, names: str) -> None:
        """Draw a row of small boxes, a unit each."""
        fill, edge = COLORS["units"]
        for number, name in enumerate(names.split()):
            left = x + 36 * number
            self.parts.append(
                f'<rect x="{left}" y="{y}" width="34" height="22" rx="3" fill="{fill}" '
                f'stroke="{edge}"/>'
            )
            self.write(left + 17, y + 15, name, "small")

    def svg(self) -> str:
        """Return the file's text."""
        lines = "\n".join(self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img">\n'
            f"<title>{escape(self.said)}</title>\n<style>{STYLE}</style>\n<defs>{TIP}</defs>\n"
            f"{lines}\n</svg>\n"
        )


def network() -> Figure:
    """Return the figure of the model in pre-training: speech from the left, text from the right."""
    figure = Figure(880, 660, "The network: speech and text meet in the Shared Transformer")
    wave = figure.box((300, 12, 230, 40), "speech", "waveform")
    front = figure.box((300, 82, 230, 56), "model", "front end", "a frame each 20 ms (fast: 40 ms)")
    masks = figure.box((300, 168, 230, 50), "plain", "masks", "spans become one learned vector")
    speech = figure.box((300, 248, 230, 64), "model", "Speech Transformer", "half of the layers")
    swap = figure.box(
        (300, 372, 230, 56), "plain", "random swapping", "some frames become their unit"
    )
    shared = figure.box(
        (300, 468, 560, 64), "model", "Shared Transformer", "the other half: for speech and text"
    )
    sentence = figure.box((630, 12, 230, 40), "text", "sentence")
    tokens = figure.box((630, 82, 230, 56), "text", "text tokenizer", "units that speech has, too")
    embed = figure.box((630, 168, 230, 50), "model", "unit embeddings")
    hidden = figure.box((630, 248, 230, 64), "plain", "masks", "spans become the same vector")
    units = figure.box((20, 82, 200, 56), "units", "units of the speech", "by a speech tokenizer")
    middle = figure.box((20, 322, 200, 44), "loss", "loss: units, middle", "of masked frames")
    top = figure.box((20, 582, 200, 50), "loss", "loss: units, top", "of masked frames")
    head = figure.box((630, 568, 230, 30), "model", "CTC head")
    letters = figure.box((630, 622, 230, 30), "loss", "loss: characters")
    for upper, lower in [(wave, front), (front, masks), (masks, speech), (speech, swap)]:
        figure.down(upper, lower)
    for upper, lower in [(sentence, tokens), (tokens, embed), (embed, hidden), (head, letters)]:
        figure.down(upper, lower)
    figure.down(swap, shared)
    figure.down(hidden, shared)
    figure.arrow((745, shared.bottom), (745, head.y - 1))
    figure.arrow((swap.middle, 344), (middle.right + 1, 344))
    figure.arrow((swap.middle, shared.bottom), (swap.middle, 607), (top.right + 1, 607))
    figure.arrow((300, wave.center), (120, wave.center), (120, units.y - 1), dashed=True)
    figure.arrow((120, units.bottom), (120, middle.y - 1), dashed=True)
    figure.arrow((160, units.bottom), (160, 290), (250, 290), (250, 400), (299, 400), dashed=True)
    figure.arrow((20, 110), (8, 110), (8, 607), (19, 607), dashed=True)
    figure.write(430, 590, "speech", "out small left")
    figure.write(755, 553, "text", "out small left")
    return figure


def tokenizers() -> Figure:
    """Return the figure of the four tokenizers: kinds of units by where they come from."""
    figure = Figure(880, 568, "The four tokenizers: phoneme and hidden units, of speech and text")
    figure.write(220, 22, "from speech", "out head")
    figure.write(660, 22, "from text", "out head")
    rows = [
        (
            50,
            "phoneme units (SpeechLM-P)",
            ("phone recogniser", "HMM, trained on transcribed speech"),
            ("lexicon", "pronunciations, predicted for rare words"),
            ("durations", "drawn for each phone"),
            ("the most likely phone", "every 10 ms"),
            "HH HH AH L L OW OW",
            "HH AH AH L OW OW OW",
        ),
        (
            318,
            "hidden units (SpeechLM-H)",
            ("features", "MFCC, or a layer of a trained model"),
            ("lexicon", "pronunciations, predicted for rare words"),
            ("text-to-unit model", "durations and units, from paired speech"),
            ("k-means", "the nearest of 500 centers, every 20 ms"),
            "17 17 402 9 9 88 88",
            "17 402 402 9 88 88 88",
        ),
    ]
    for y, name, speech, text, last_text, last_speech, heard, read in rows:
        figure.write(440, y + 4, name, "out head")
        wave = figure.box((50, y + 20, 340, 30), "speech", "recording")
        first = figure.box((50, y + 72, 340, 46), "model", *speech)
        second = figure.box((50, y + 140, 340, 46), "model", *last_speech)
        sentence = figure.box((490, y + 20, 340, 30), "text", "hello")
        third = figure.box((490, y + 72, 340, 46), "plain", *text)
        fourth = figure.box((490, y + 140, 340, 46), "model", *last_text)
        for upper, lower in [(wave, first), (first, second), (sentence, third), (third, fourth)]:
            figure.down(upper, lower)
        for box, units in ((second, heard), (fourth, read)):
            figure.arrow((box.middle, box.bottom), (box.middle, y + 207))
            figure.cells(box.middle - 125, y + 210, units)
        figure.write(440, y + 226, "the same alphabet")
    return figure


STAGES = {
    1: ((20, 110), "plain", "data"),
    2: ((150, 110), "plain", "dump"),
    3: ((280, 40), "text", "lexicon, word LM"),
    4: ((430, 40), "model", "phone recogniser"),
    5: ((580, 40), "units", "phone units"),
    6: ((280, 190), "model", "k-means"),
    7: ((410, 190), "units", "hidden units"),
    8: ((540, 190), "model", "text-to-unit"),
    9: ((670, 190), "units", "text units"),
    10: ((790, 110), "model", "pre-train"),
    11: ((790, 300), "model", "fine-tune"),
    12: ((540, 300), "text", "word LM, graph"),
    13: ((660, 390), "plain", "decode"),
    14: ((790, 390), "plain", "score"),
}
"""Number of a stage: upper left corner, kind, what it makes."""


def stages() -> Figure:
    """Return the figure of the stages of a recipe and of what each needs."""
    figure = Figure(920, 460, "The stages of a recipe")
    wide = {3: 130, 4: 130, 5: 130, 12: 150}
    boxes = {
        number: figure.box((x, y, wide.get(number, 110), 50), kind, str(number), name)
        for number, ((x, y), kind, name) in STAGES.items()
    }
    for left, right in [(1, 2), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9), (13, 14)]:
        figure.across(boxes[left], boxes[right])
    for number in (3, 6):
        figure.arrow(
            (260, boxes[2].center), (270, boxes[number].center), (279, boxes[number].center)
        )
    figure.arrow((710, boxes[5].center), (845, boxes[5].center), (845, 109))
    figure.arrow((725, 190), (725, boxes[10].center), (789, boxes[10].center))
    figure.arrow((495, 90), (495, 140), (595, 140), (595, 189))
    figure.write(545, 133, "alignments")
    figure.arrow((845, 160), (845, 299))
    figure.arrow((845, 350), (845, 370), (715, 370), (715, 389))
    figure.arrow((615, 350), (615, 415), (659, 415))
    figure.write(495, 24, "phoneme units (SpeechLM-P)")
    figure.write(525, 268, "hidden units (SpeechLM-H)")
    return figure


FIGURES = {"network": network, "tokenizers": tokenizers, "stages": stages}


def main() -> None:
    """Write the figures into a folder."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--output", type=Path, default=ROOT / "doc" / "images", help="folder")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    for name, draw in FIGURES.items():
        (args.output / f"{name}.svg").write_text(draw().svg(), encoding="utf-8")


if __name__ == "__main__":
    main()
