"""Stage 14: draw learning curves over CPU seconds, wall seconds or batches, from train.log.

Folders under one name are seeds of the same: their mean is drawn, and a band from the lowest to the
highest. Prints when each comes to where the first one's validation ends.
"""

from __future__ import annotations

from speechlm.bin._cli import fields, parser, run


def main() -> None:
    """Draw, and print the tables."""
    options = parser(__doc__)
    options.add_argument(
        "--curves",
        nargs="+",
        required=True,
        metavar="NAME:DIR",
        help="folders of trainings; a name may come several times",
    )
    options.add_argument(
        "--values",
        nargs="+",
        default=["accuracy_middle", "accuracy_top"],
        help="what is drawn, a panel each, of the trainings that have it; train.log names what "
        "there is",
    )
    options.add_argument("--x", choices=("cpu", "wall", "updates"), default="cpu", help="the axis")
    options.add_argument("--title", default="Learning curves", help="of the picture")
    options.add_argument("--output", required=True, help="PNG file to write")
    args = options.parse_args()

    from speechlm.pictures.curves import draw_curves
    from speechlm.score.curves import reached, read_panels

    folders: dict[str, list[str]] = {}
    for item in args.curves:
        name, folder = fields(item, "NAME:DIR")
        folders.setdefault(name, []).append(folder)
    panels = read_panels(folders, args.values, args.x)
    for value, curves in panels.items():
        print(f"{value}\n\n{reached(curves, args.x)}")
    draw_curves(panels, args.x, args.output, args.title)


if __name__ == "__main__":
    run(main)
