"""Stages 6 and 7: hidden units of a (split) data directory, a label for each frame of the features.

A label lasts 20 ms, with features of a fast model as long as its frames (OUTPUT/frame_shift).
Writes OUTPUT/units.JOB.{ark,scp}. The k-means file says what features to compute. Utterances that
cannot be used (damaged, silent, less than two frames) are listed in skipped.JOB. merge_units
--input OUTPUT --n JOBS --data DIR joins the jobs and checks the labels against the audio.
"""

from __future__ import annotations

from speechlm.bin._cli import parser, run
from speechlm.bin._options import add_device, add_job, device_of


def main() -> None:
    """Parse, label."""
    options = parser(__doc__)
    options.add_argument("--kmeans", required=True, help="file of train_kmeans")
    options.add_argument("--data_dir", required=True, help="(part of a) data directory")
    options.add_argument("--output", required=True, help="folder of the archives")
    add_job(options)
    options.add_argument("--model", help="where the features' model is now, if it has moved")
    options.add_argument("--feats", help="folder of feature archives, instead of computing them")
    add_device(options)
    args = options.parse_args()

    from speechlm.data.kaldi_dir import DataDir
    from speechlm.tokenizers.hidden_speech import HiddenSpeechTokenizer, label_data

    device = device_of(args)
    tokenizer = HiddenSpeechTokenizer.load(args.kmeans, args.model, args.feats, device)
    label_data(DataDir.read(args.data_dir), tokenizer, args.output, args.job)


if __name__ == "__main__":
    run(main)
