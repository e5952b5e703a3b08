"""Stages 4 and 5: forced alignment of a data directory with its transcripts.

Writes 10 ms phone labels, OUTPUT/units.JOB.{ark,scp}; with --features also feats and states, which
train the recogniser's network.
"""

from __future__ import annotations

from pathlib import Path

from speechlm.bin._cli import parser, run
from speechlm.bin._options import add_job, add_per_utterance, add_recognizer


def main() -> None:
    """Parse, align, report."""
    options = parser(__doc__)
    add_recognizer(options, "data_dir", "model", "speakers", "lexicon", "output")
    options.add_argument(
        "--phone_model",
        type=Path,
        help="align with this network's scores and the Gaussians' together",
    )
    options.add_argument("--speed", type=float, default=1.0, help="speed of the audio's copy")
    options.add_argument(
        "--features", action="store_true", help="write feats and states too, to train the network"
    )
    add_per_utterance(options)
    add_job(options)
    args = options.parse_args()

    import numpy as np

    from speechlm.data.kaldi_dir import DataDir
    from speechlm.recognizer.labelling import align_data
    from speechlm.recognizer.model import AlignmentModel, Frames
    from speechlm.recognizer.speakers import load_speakers
    from speechlm.recognizer.utterance_graph import read_pronunciations

    scores, model = None, AlignmentModel.load(args.model)
    if args.phone_model is not None:
        import torch

        from speechlm.recognizer.network import Network, joint_scores

        torch.set_num_threads(1)
        network = Network.load(args.phone_model)

        def scores(frames: Frames) -> np.ndarray:
            return joint_scores(model, frames, network.state_scores(frames.network))

    align_data(
        DataDir.read(args.data_dir),
        model,
        load_speakers(args.speakers),
        read_pronunciations(args.lexicon),
        args.output,
        job=args.job,
        speed=args.speed,
        per_utterance=args.per_utterance,
        with_features=args.features,
        scores=scores,
    )


if __name__ == "__main__":
    run(main)
