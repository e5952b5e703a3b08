"""Training of the frame classifier from prepared lists to a folder of plain files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import kaldiio

from speechlm.data.kaldi_dir import read_table
from speechlm.recognizer.network import Network
from speechlm.recognizer.network_data import NAMES, ClassTable
from speechlm.recognizer.topology import N_PDFS
from speechlm.tasks.common import parse_espnet
from speechlm.tasks.phone_model import PhoneModelTask
from speechlm.tasks.trainer import load_weights_only


def write_shapes(folder: Path) -> Path:
    """`feats_shape` of a list folder: `id T,D` a line, for ESPnet's batching."""
    shapes = folder / "feats_shape"
    if not shapes.exists():
        feats = kaldiio.load_scp(str(folder / "feats.scp"))
        lines = [f"{u} {','.join(map(str, feats[u].shape))}\n" for u in feats]
        shapes.write_text("".join(lines))
    return shapes


def train_phone_model(
    data: Path, output: Path, config: str | None, espnet_options: Sequence[str] = ()
) -> Network:
    """Train (or resume) in `OUTPUT_train` and write the network beside it.

    Args:
        data: folder of make_phone_classes.
        output: becomes the folder of the network's files.
        config: ESPnet YAML file.
        espnet_options: further ESPnet options, such as `--max_epoch 5`.

    Raises:
        ValueError: missing lists, or unknown options.
    """
    classes = ClassTable.load(data / "classes.npz")
    arguments = [
        "--output_dir",
        str(output) + "_train",
        "--n_classes",
        str(classes.n_classes),
        "--n_states",
        str(N_PDFS),
    ]
    for part in ("train", "valid"):
        if not read_table(data / part / "feats.scp"):
            raise ValueError(f"{data / part}: no utterances")
        arguments += [f"--{part}_shape_file", str(write_shapes(data / part))]
        for name in NAMES:
            path = f"{data / part / name}.scp,{name},kaldi_ark"
            arguments += [f"--{part}_data_path_and_name_and_type", path]
    args = parse_espnet(PhoneModelTask, [*arguments, *espnet_options], config)
    PhoneModelTask.main(args=args)
    model = PhoneModelTask.build_model(args)
    best = Path(f"{output}_train") / "valid.class_loss.ave.pth"
    model.load_state_dict(load_weights_only(best))
    network = Network(model.network, classes)
    network.save(output)
    return network
