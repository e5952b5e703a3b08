"""Stage 4: the recogniser's search graph from word model, lexicon and network classes."""

from __future__ import annotations

from pathlib import Path

from speechlm.bin._cli import parser, run
from speechlm.bin._options import add_recognizer


def main() -> None:
    """Parse, build, save."""
    options = parser(__doc__)
    options.add_argument("--lm", type=Path, required=True, help="word model (ARPA)")
    add_recognizer(options, "lexicon", "phone_model", output="folder of the graph")
    args = options.parse_args()

    from speechlm.recognizer.network_data import ClassTable
    from speechlm.recognizer.search_graph import make_graph
    from speechlm.recognizer.utterance_graph import read_pronunciations

    classes = ClassTable.load(args.phone_model / "classes.npz")
    make_graph(read_pronunciations(args.lexicon), args.lm, classes, args.output)


if __name__ == "__main__":
    run(main)
