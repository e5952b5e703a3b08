"""Stages 4, 5 and 13: cepstral statistics and an fMLLR transform for each speaker of a set.

The transcripts are aligned; with --graph and --phone_model the audio is decoded instead.
Job J of N takes every N-th speaker of the WHOLE directory and writes OUTPUT/speakers.J.npz.
"""

from __future__ import annotations

from pathlib import Path

from speechlm.bin._cli import at_least, parser, run
from speechlm.bin._options import add_job, add_per_utterance, add_recognizer


def main() -> None:
    """Parse, adapt, save."""
    options = parser(__doc__)
    add_recognizer(
        options,
        "model",
        "lexicon",
        data_dir="whole data directory",
        output="folder for speakers.JOB.npz",
    )
    options.add_argument("--graph", type=Path, help="decode with this graph (make_graph)")
    options.add_argument("--phone_model", type=Path, help="network for decoding")
    options.add_argument("--speed", type=float, default=1.0, help="speed of the audio's copy")
    options.add_argument("--max_seconds", type=float, default=120.0, help="audio used a speaker")
    add_per_utterance(options)
    add_job(options)
    options.add_argument("--n_jobs", type=at_least(1), default=1, help="number of parts")
    args = options.parse_args()

    from speechlm.data.kaldi_dir import DataDir
    from speechlm.recognizer import adaptation
    from speechlm.recognizer.model import AlignmentModel

    data = DataDir.read(args.data_dir)
    model = AlignmentModel.load(args.model)
    if (args.graph is None) != (args.phone_model is None):
        raise ValueError("--graph and --phone_model are needed together (to decode)")
    if args.graph is None:
        states_of = adaptation.states_of_transcripts(data, model, args.lexicon)
    else:
        import torch

        torch.set_num_threads(1)
        states_of = adaptation.states_of_decoding(model, args.graph, args.phone_model, args.lexicon)
    adaptation.adapt_data(
        data,
        model,
        states_of,
        args.output,
        job=args.job,
        n_jobs=args.n_jobs,
        speed=args.speed,
        max_seconds=args.max_seconds,
        per_utterance=args.per_utterance,
    )


if __name__ == "__main__":
    run(main)
