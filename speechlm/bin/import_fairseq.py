"""Make a data directory and unit archives of .tsv, .phn/.km, .ltr and dict files.

File names that cannot be ids (with blanks, for instance) are escaped; OUTPUT/report.tsv lists them.
"""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING

from speechlm.bin._cli import parser, run

if TYPE_CHECKING:
    from speechlm.data.kaldi_dir import DataDir
    from speechlm.data.report import Report


def main() -> None:
    """Import audio list, transcripts and labels; what is not given is not made."""
    options = parser(__doc__)
    options.add_argument("--tsv", required=True, help="manifest: folder, then path<tab>samples")
    options.add_argument("--root", help="audio folder to use instead of the manifest's")
    options.add_argument("--labels", help="label file (.phn, .km), one line an utterance")
    options.add_argument(
        "--dict", help="dictionary with the units' names (such as AH0_I), in the labels' order"
    )
    options.add_argument("--letters", help=".ltr file of the transcripts")
    options.add_argument("--frame_shift", type=float, default=0.01, help="seconds a label")
    options.add_argument("--units", default="units_phone", help="folder for the units in OUTPUT")
    options.add_argument("--output", required=True, help="data directory to write")
    args = options.parse_args()
    if bool(args.labels) != bool(args.dict):
        raise ValueError("--labels and --dict belong together: give both or none")

    from speechlm.data.report import kept_report
    from speechlm.data.validate import REPORT

    path = f"{args.output}/{REPORT}"
    with kept_report(path):
        data, report = import_all(args)
    report.write(path)
    data.write(args.output)
    counts = f"{len(data)} utterances of {args.tsv}"
    logging.info("%s: %s; %s", args.output, counts, report.summary())


def import_all(args: argparse.Namespace) -> tuple[DataDir, Report]:
    """Read what the options name, and write the labels.

    Returns:
        The data directory, and the report of the names that were changed.
    """
    from dataclasses import replace

    from speechlm.data import fairseq_format as fairseq

    manifest = fairseq.read_manifest(args.tsv)
    if args.root:
        manifest = replace(manifest, root=args.root)
    data = fairseq.import_audio(manifest, args.letters)
    if args.labels:
        folder = f"{args.output}/{args.units}"
        tokens = fairseq.read_dictionary(args.dict)
        fairseq.import_labels(manifest, args.labels, tokens, folder, args.frame_shift)
    return data, fairseq.changed_names(manifest)


if __name__ == "__main__":
    run(main)
