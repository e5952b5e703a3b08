"""Stage 14: draw the weights of decoding that tune_ctc has tried and chosen: a map a system."""

from __future__ import annotations

from speechlm.bin._cli import fields, parser, run


def main() -> None:
    """Draw the picture."""
    options = parser(__doc__)
    options.add_argument(
        "--tunings",
        nargs="+",
        required=True,
        metavar="NAME:DIR",
        help="systems and what tune_ctc wrote for them",
    )
    options.add_argument("--output", required=True, help="PNG file to write")
    args = options.parse_args()

    from speechlm.pictures.tuning import draw_tunings, read_tried

    named = (fields(item, "NAME:DIR") for item in args.tunings)
    draw_tunings({name: read_tried(folder) for name, folder in named}, args.output)


if __name__ == "__main__":
    run(main)
