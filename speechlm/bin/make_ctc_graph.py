"""Stage 12: the decoding graph of CTC from a word model and a list of words."""

from __future__ import annotations

import argparse
from pathlib import Path

from speechlm.bin._cli import parser, run


def options() -> argparse.ArgumentParser:
    """The options."""
    p = parser(__doc__)
    p.add_argument("--lm", type=Path, required=True, help="word model: an ARPA file, or its .gz")
    p.add_argument(
        "--lexicon",
        type=Path,
        required=True,
        help="words: a word a line, with letters behind it as fairseq's .lst has them, or with "
        "phones, which do not count here",
    )
    p.add_argument("--output", type=Path, required=True, help="folder of the graph")
    return p


def main() -> None:
    """Parse, build, save."""
    args = options().parse_args()
    from speechlm.lm.ctc_graph import make_ctc_graph
    from speechlm.lm.spellings import read_spellings

    make_ctc_graph(read_spellings(args.lexicon), args.lm, args.output)


if __name__ == "__main__":
    run(main)
