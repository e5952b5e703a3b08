"""Stage 4: train the Gaussian models of the phone recogniser from transcripts (flat start)."""

from __future__ import annotations

from speechlm.bin._cli import parser, run
from speechlm.bin._options import add_recognizer


def _counts(text: str) -> tuple[int, ...]:
    try:
        counts = tuple(int(part) for part in text.split(","))
    except ValueError:
        counts = ()
    if not counts or min(counts) < 1:
        raise ValueError(f"numbers of Gaussians like 1,2,4 expected, got {text!r}")
    return counts


def main() -> None:
    """Parse, train, save."""
    options = parser(__doc__)
    add_recognizer(
        options, "lexicon", data_dir="data directory with text", output="folder of the model"
    )
    options.add_argument("--max_hours", type=float, default=10.0, help="use at most this much")
    options.add_argument(
        "--monophone",
        default="1,1,2,2,3,4,6,8,10,12",
        help="Gaussians a state after each realignment, first model",
    )
    options.add_argument("--projected", default="12,14,16", help="the same, MLLT features")
    options.add_argument("--adapted", default="16,18,20,20", help="the same, speaker-adapted")
    args = options.parse_args()

    from speechlm.data.kaldi_dir import DataDir
    from speechlm.recognizer.gmm_training import GmmConfig, load_corpus, train_gmm
    from speechlm.recognizer.utterance_graph import read_pronunciations

    config = GmmConfig(_counts(args.monophone), _counts(args.projected), _counts(args.adapted))
    corpus = load_corpus(DataDir.read(args.data_dir), args.max_hours)
    model = train_gmm(corpus, read_pronunciations(args.lexicon), config)
    model.save(args.output)
    corpus.write_failed(args.output / "failed")


if __name__ == "__main__":
    run(main)
