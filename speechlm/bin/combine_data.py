"""Join data directories into one."""

from __future__ import annotations

import logging

from speechlm.bin._cli import parser, run


def main() -> None:
    """Combine and write."""
    options = parser(__doc__)
    options.add_argument("--input", required=True, nargs="+", help="data directories to read")
    options.add_argument("--output", required=True, help="data directory to write")
    args = options.parse_args()

    from speechlm.data.dir_parts import combine
    from speechlm.data.kaldi_dir import DataDir

    data = combine([DataDir.read(path) for path in args.input])
    data.write(args.output)
    logging.info("%s: %d utterances of %d directories", args.output, len(data), len(args.input))


if __name__ == "__main__":
    run(main)
