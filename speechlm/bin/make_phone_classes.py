"""Stage 4: cluster phones in context from alignments, and list the network's training data."""

from __future__ import annotations

from pathlib import Path

from speechlm.bin._cli import parser, run


def main() -> None:
    """Parse, cluster, write."""
    options = parser(__doc__)
    options.add_argument(
        "--align",
        type=Path,
        nargs="+",
        required=True,
        help="merged outputs of align --features, one a speed",
    )
    options.add_argument("--output", type=Path, required=True, help="folder of the lists")
    options.add_argument("--max_classes", type=int, default=400, help="leaves of the tree")
    options.add_argument("--min_count", type=float, default=300.0, help="10 ms frames of a leaf")
    options.add_argument("--classes_from", type=Path, help="classes.npz whose tree to keep")
    args = options.parse_args()

    from speechlm.recognizer.network_data import make_network_data

    make_network_data(
        args.align,
        args.output,
        max_classes=args.max_classes,
        min_count=args.min_count,
        classes_from=args.classes_from,
    )


if __name__ == "__main__":
    run(main)
