"""Stage 11: a frozen model on a task of SUPERB: heads at several rates, the best in dev tested.

OUTPUT/result.json has what was chosen, OUTPUT/METRIC.SEED.npz what each test item scored. Query by
example trains nothing: its layer is chosen on dev. Until the end, finished trainings are in
OUTPUT.trainings, so that an interrupted run goes on with the next one.
"""

from __future__ import annotations

import logging
import shutil

from speechlm.bin._cli import at_least, parser, run
from speechlm.bin._options import add_device, device_of
from speechlm.bin._superb import TASKS, UPSTREAM


def main() -> None:
    """Parse, train and test, report."""
    options = parser(__doc__)
    options.add_argument("--task", required=True, choices=TASKS, help="what is judged")
    options.add_argument("--model", required=True, help="the upstream's name in tables")
    options.add_argument("--task_dir", required=True, help="folder of prepare_superb")
    options.add_argument("--data_dir", required=True, help="the same after format_data")
    options.add_argument("--features", help="folder of superb_features")
    options.add_argument("--upstream", help=f"without --features, computed anew: {UPSTREAM}")
    options.add_argument("--config", help="YAML file: {task: {value of training: ...}}")
    options.add_argument(
        "--seeds",
        type=at_least(0),
        nargs="+",
        default=[1, 2, 3],
        help="of the heads; the first chooses",
    )
    options.add_argument("--output", required=True, help="folder to write")
    add_device(options)
    args = options.parse_args()
    if (args.features is None) == (args.upstream is None):
        raise ValueError("one of --features and --upstream expected")
    if len(set(args.seeds)) != len(args.seeds):
        raise ValueError(f"different --seeds expected, got {' '.join(map(str, args.seeds))}")

    from speechlm.data.kaldi_dir import DataDir
    from speechlm.superb.features import LiveFeatures, StoredFeatures, check_lengths
    from speechlm.superb.judge import judge_task
    from speechlm.superb.metrics import value
    from speechlm.superb.results import write_result
    from speechlm.superb.upstream import open_upstream

    device, data = device_of(args), DataDir.read(args.data_dir)
    features: StoredFeatures | LiveFeatures
    if args.features:
        features = StoredFeatures(args.features)
    else:
        features = LiveFeatures(open_upstream(args.upstream, device), data)
    check_lengths(features.description, data)
    kept = f"{args.output}.trainings"
    tested = judge_task(
        args.task, args.task_dir, data, features, args.config, args.seeds, device, kept
    )
    seeds = args.seeds if tested.rates else args.seeds[:1]
    write_result(args.output, args.task, args.model, features.description, tested, seeds)
    shutil.rmtree(kept, ignore_errors=True)
    means = {m: sum(map(value, parts)) / len(parts) for m, parts in tested.scores.items()}
    shown = ", ".join(f"{metric} {mean:.4g}" for metric, mean in means.items())
    logging.info("%s on %s: %s (rate %g)", args.model, args.task, shown, tested.rate)


if __name__ == "__main__":
    run(main)
