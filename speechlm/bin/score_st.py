"""Stage 14: score translations: sacreBLEU and chrF with signatures, sentences side by side."""

from __future__ import annotations

import logging

from speechlm.bin._cli import parser, run


def main() -> None:
    """Writes scores.json, result.md and sentences.tsv; prints the scores."""
    options = parser(__doc__)
    options.add_argument("--ref", required=True, help="Kaldi text file with the references")
    options.add_argument("--hyp", required=True, help="Kaldi text file with the translations")
    options.add_argument("--source", help="Kaldi text file with transcripts, to be shown")
    options.add_argument("--target_lang", required=True, help="language of the translations")
    options.add_argument("--name", required=True, help="name of the test set in the tables")
    options.add_argument(
        "--style",
        default="cased",
        choices=("cased", "lower", "moses"),
        help="cased: as they are; lower: both sides in lower case, without punctuation; moses: the"
        " references with punctuation as Moses' scripts normalize it",
    )
    options.add_argument("--tokenizer", help="sacreBLEU's; none: the default of the language")
    options.add_argument("--output", required=True, help="folder to write")
    args = options.parse_args()

    from speechlm.data.atomic import output_dir
    from speechlm.data.kaldi_dir import read_table, show_ids
    from speechlm.score import translation
    from speechlm.score.sentences import SENTENCES, write_sentences

    references, hypotheses = (read_table(p, empty=True) for p in (args.ref, args.hyp))
    scores, sentences, single = translation.translation_scores(
        references, hypotheses, args.target_lang, args.style, args.tokenizer
    )
    more = {"chrF": single}
    if args.source:
        source = read_table(args.source, empty=True)
        more["source"] = {u: source.get(u, "") for u in sentences}
    with output_dir(args.output) as folder:
        translation.save_translation_scores(scores, folder)
        table = translation.translation_table({args.name: scores})
        (folder / "result.md").write_text(table, encoding="utf-8")
        write_sentences(folder / SENTENCES, sentences, more)
    empty = [u for u, sentence in sentences.items() if not sentence.reference]
    if empty:
        logging.warning("%s: %d empty references: %s", args.ref, len(empty), show_ids(empty))
    if scores.empty_hypotheses:
        logging.warning("%s: %d translations are empty", args.hyp, scores.empty_hypotheses)
    logging.info(
        "%s: BLEU %.2f, chrF %.1f (%d sentences, %s, %s)",
        args.name,
        scores.bleu,
        scores.chrf,
        scores.sentences,
        scores.bleu_signature,
        args.output,
    )


if __name__ == "__main__":
    run(main)
