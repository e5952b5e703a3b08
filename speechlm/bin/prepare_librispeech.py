"""Stage 1: parts of LibriSpeech, or of a corpus in its layout, to a Kaldi data directory."""

from __future__ import annotations

import logging

from speechlm.bin._cli import parser, run
from speechlm.bin._corpus import add_max_bad_share, prepare_corpus


def main() -> None:
    """Read the parts, write the data directory and its report."""
    options = parser(__doc__)
    options.add_argument("--corpus", required=True, help="folder that has the parts")
    options.add_argument("--parts", required=True, nargs="+", help="such as train-clean-100")
    options.add_argument("--output", required=True, help="data directory to write")
    add_max_bad_share(options)
    options.add_argument("--without_text", action="store_true", help="speech alone")
    args = options.parse_args()

    from speechlm.data.kaldi_dir import write_table
    from speechlm.data.librispeech import read_librispeech, read_speakers, unlisted_speakers

    data = prepare_corpus(
        args.output,
        lambda: read_librispeech(args.corpus, args.parts, not args.without_text),
        args.corpus,
        args.max_bad_share,
    )
    genders = read_speakers(args.corpus)
    warning = unlisted_speakers(data, genders)
    if warning:
        logging.warning(warning)
    if genders:
        table = {speaker: genders[speaker] for speaker in data.spk2utt if speaker in genders}
        write_table(f"{args.output}/spk2gender", table)


if __name__ == "__main__":
    run(main)
