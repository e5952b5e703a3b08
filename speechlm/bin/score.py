"""Stage 14: score recognised sentences: WER and CER, alignments, confusions, speakers.

Speakers are those of utt2spk beside the references, if it is there. With n-best lists their oracle
WER is found, with a lexicon the words that the decoder could not write.
"""

from __future__ import annotations

import logging

from speechlm.bin._cli import parser, run


def main() -> None:
    """Write the folder of scores; print the error rates."""
    options = parser(__doc__)
    options.add_argument("--ref", required=True, help="Kaldi text file with the references")
    options.add_argument("--hyp", required=True, help="Kaldi text file with the hypotheses")
    options.add_argument("--name", required=True, help="name of the test set in the tables")
    options.add_argument("--nbest", help="nbest.tsv of the decoding: oracle WER")
    options.add_argument("--search", help="search.json of the decoding: weights, speed, failures")
    options.add_argument(
        "--lexicon",
        help="words that the decoder can write, the first of each line (lexicon.lst, words.txt)",
    )
    options.add_argument("--output", required=True, help="folder to write")
    args = options.parse_args()

    from speechlm.data.atomic import output_dir
    from speechlm.score.recognition import SOMETIMES, Decoding, score_decoding

    decoding = Decoding(args.ref, args.hyp, args.nbest, args.search, args.lexicon)
    with output_dir(args.output, SOMETIMES) as folder:
        rates = score_decoding(decoding, args.name, folder)
    logging.info(
        "%s: WER %.2f %%, CER %.2f %% (%d sentences, %s)",
        args.name,
        rates.words.rate,
        rates.characters.rate,
        rates.words.sentences,
        args.output,
    )


if __name__ == "__main__":
    run(main)
