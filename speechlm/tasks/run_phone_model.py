"""Training of the frame classifier from prepared lists to a folder of plain files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import kaldiio

from speechlm.data.kaldi_dir import read_table
from speechlm.recognizer.network import Network
from speechlm.recognizer.network_data import NAMES, ClassTable
from speechlm.recognizer.topology import N_PDFS
from speechlm.tasks.common import data_options, parse_training
from speechlm.tasks.phone_model import PhoneModelTask
from speechlm.tasks.trainer import load_weights_only

AVERAGE = "valid.class_loss.ave.pth"
"""Link to the weights that the training ends with."""


def write_shapes(folder: Path) -> Path:
    """`feats_shape` of a list folder: `id T,D` a line, for ESPnet's batching."""
    shapes = folder / "feats_shape"
    if not shapes.exists():
        feats = kaldiio.load_scp(str(folder / "feats.scp"))
        lines = [f"{u} {','.join(map(str, feats[u].shape))}\n" for u in feats]
        shapes.write_text("".join(lines))
    return shapes


def train_phone_model(
    output: str | os.PathLike[str],
    config: str | None,
    data: Path,
    options: Mapping[str, Any],
    espnet: Sequence[str] = (),
) -> Network:
    """Train (or resume) in `OUTPUT_train` and write the network beside it.

    Args:
        output: becomes the folder of the network's files.
        config: YAML file.
        data: folder of make_phone_classes.
        options: options of `PhoneModelTask` by name; None: not given.
        espnet: further command line options of ESPnet.

    Raises:
        ValueError: missing lists, or unknown options.
    """
    classes = ClassTable.load(data / "classes.npz")
    folder = Path(f"{output}_train")
    lists: list[str] = []
    for part in ("train", "valid"):
        if not read_table(data / part / "feats.scp"):
            raise ValueError(f"{data / part}: no utterances")
        sources = {name: (data / part / f"{name}.scp", "kaldi_ark") for name in NAMES}
        lists += data_options(part, sources, write_shapes(data / part))
    options = {"n_classes": classes.n_classes, "n_states": N_PDFS, **options}
    args = parse_training(PhoneModelTask, folder, config, options, [*lists, *espnet])
    PhoneModelTask.main(args=args)
    model = PhoneModelTask.build_model(args)
    model.load_state_dict(load_weights_only(folder / AVERAGE))
    network = Network(model.network, classes)
    network.save(Path(output))
    return network
