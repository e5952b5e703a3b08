"""Stage 14: score recognised sentences: WER and CER tables, alignments, counts."""

from __future__ import annotations

import logging

from speechlm.bin._cli import parser, run


def main() -> None:
    """Writes scores.json, result.md, alignments.txt, sentences.tsv; prints the error rates."""
    options = parser(__doc__)
    options.add_argument("--ref", required=True, help="Kaldi text file with the references")
    options.add_argument("--hyp", required=True, help="Kaldi text file with the hypotheses")
    options.add_argument("--name", required=True, help="name of the test set in the tables")
    options.add_argument("--output", required=True, help="folder to write")
    args = options.parse_args()

    from speechlm.data.atomic import output_dir
    from speechlm.data.kaldi_dir import read_table, show_ids
    from speechlm.score.error_rate import error_rates, format_alignments
    from speechlm.score.report import error_table, save_scores
    from speechlm.score.sentences import SENTENCES, Sentence, write_sentences

    references, hypotheses = (read_table(p, empty=True) for p in (args.ref, args.hyp))
    rates = error_rates(references, hypotheses)
    sentences = {u: Sentence(references[u], hypotheses[u]) for u in references}
    tables = {"WER": rates.words, "CER": rates.characters}
    text = "\n".join(f"{kind}\n\n{error_table({args.name: n})}" for kind, n in tables.items())
    with output_dir(args.output) as folder:
        save_scores(rates, folder)
        (folder / "result.md").write_text(text, encoding="utf-8")
        (folder / "alignments.txt").write_text(format_alignments(rates), encoding="utf-8")
        write_sentences(folder / SENTENCES, sentences, {})
    empty = [u for u, sentence in sentences.items() if not sentence.reference]
    if empty:
        logging.warning("%s: %d empty references: %s", args.ref, len(empty), show_ids(empty))
    otherwise = rates.only_written_otherwise()
    if otherwise:
        logging.warning(
            "%d of %d word errors are of upper and lower case or of Unicode's normal form alone",
            otherwise,
            rates.words.errors,
        )
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
