"""Put SpeechLM as upstream `speechlm` into a clone of s3prl, or into its installed package.

There `run_downstream.py -u speechlm -k FOLDER` and `S3PRLUpstream("speechlm", FOLDER)` open model
folders then, and ESPnet's frontend s3prl does (doc/hub.md).
"""

from __future__ import annotations

import logging

from speechlm.bin._cli import parser, run


def main() -> None:
    """Parse, install, report."""
    options = parser(__doc__)
    options.add_argument("--s3prl", required=True, help="the clone, or the package's folder")
    args = options.parse_args()

    from speechlm.checkpoints.s3prl_upstream import NAME, install

    logging.info("%s: upstream %s", install(args.s3prl), NAME)


if __name__ == "__main__":
    run(main)
