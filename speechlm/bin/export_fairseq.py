"""Write a data directory and its units as .tsv, .phn (or .km), .ltr and dict files.

Utterances that are parts of long recordings (`segments`) become files in OUTPUT/audio.
"""

from __future__ import annotations

import logging

from speechlm.bin._cli import parser, run


def main() -> None:
    """Export what the data directory has."""
    options = parser(__doc__)
    options.add_argument("--input", required=True, help="dump directory to read")
    options.add_argument("--units", help="folder of units in INPUT, such as units_phone")
    options.add_argument("--suffix", default="phn", help="of the label file: phn or km")
    options.add_argument("--root", help="audio folder of the manifest (default: the common one)")
    options.add_argument("--name", default="train", help="name of the files without suffix")
    options.add_argument("--output", required=True, help="folder to write into")
    args = options.parse_args()

    from speechlm.data import fairseq_format as fairseq
    from speechlm.data.kaldi_dir import DataDir

    data = DataDir.read(args.input)
    base = f"{args.output}/{args.name}"
    if data.segments:
        logging.info(
            "%d parts of recordings become files in %s/audio", len(data.segments), args.output
        )
        data = fairseq.cut_segments(data, f"{args.output}/audio")
    fairseq.export_audio(data, f"{base}.tsv", args.root)
    if args.units:
        folder = f"{args.input}/{args.units}"
        tokens = fairseq.export_labels(data, folder, f"{base}.{args.suffix}")
        fairseq.export_dictionary(f"{args.output}/dict.{args.suffix}.txt", len(tokens))
    if data.text is not None:
        fairseq.export_letters(data, f"{base}.ltr")
    logging.info("%s.*: %d utterances of %s", base, len(data), args.input)


if __name__ == "__main__":
    run(main)
