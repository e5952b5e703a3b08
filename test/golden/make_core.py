"""Makes the core set in this folder from the full golden set: python make_core.py FULL_FOLDER."""

import gzip
import io
import sys
from pathlib import Path

import numpy as np
import torch

from speechlm.models.text_to_unit import UNUSED_KEYS

CORE = Path(__file__).resolve().parent
CHECKPOINTS = ("tiny_large.pt", "tiny_pretrain.pt", "tiny_t2u.pt", "st_decoder.pt")

# Left out of the core: what repeats another array, and what losses and gradients imply.
LEFT_OUT = {
    "ctc_finetune_io.npz": ("large.", "base.source", "base.padding_mask"),
    "st_decoder_io.npz": ("source",),
    "tiny_t2u_io.npz": ("given_dur.decoder_layer", "given_dur.encoder_layer_0"),
    "tiny_large_io.npz": (
        "wav_a",
        "batch.source",
        "batch.padding_mask",
        "batch.layer_results",
        "batch.rep",
        "batch.ret_conv",
        "batch_nomask",
        "batch_ab",
        "single_a",
        "single_c.source",
    ),
    "tiny_pretrain_io.npz": (
        "p50.speech.trimmed",
        "p50.speech.features_l",
        "p50.speech.features_projected",
        "p50.speech.unit_encoder_after",
        "p50.speech.unit_encoder_layer",
        "p50.speech.unit_encoder_input",
        "p50.speech.logit_u",
        "p50.text.unit_encoder_after",
        "p50.text.unit_encoder_layer",
        "p50.text.unit_encoder_out",
        "p100.speech.conv_features",
        "p100.speech.trimmed",
        "p100.speech.features_l",
        "p100.speech.features_projected",
        "p100.speech.encoder_",
        "p100.speech.pos_conv_out",
        "p100.speech.unit_encoder_after",
        "p100.speech.unit_encoder_layer",
        "p100.speech.unit_encoder_input",
        "p100.speech.unit_encoder_out",
        "p100.speech.logit_u",
        "p100.text.unit_encoder_after",
        "p100.text.unit_encoder_layer",
        "p100.text.unit_encoder_out",
        "p100.text.ctc_logits",
    ),
}


def main(full: Path) -> None:
    for name, left_out in LEFT_OUT.items():
        arrays = np.load(full / name, allow_pickle=False)
        kept = {key: arrays[key] for key in arrays.files if not key.startswith(left_out)}
        np.savez_compressed(CORE / name, **kept)
    for name in CHECKPOINTS:
        checkpoint = torch.load(full / name, weights_only=True)
        if name == "tiny_t2u.pt":
            weights = checkpoint["model"].items()
            kept = {key: value for key, value in weights if not key.startswith(UNUSED_KEYS)}
            checkpoint["model"] = kept
        content = io.BytesIO()
        torch.save(checkpoint, content)
        (CORE / f"{name}.gz").write_bytes(gzip.compress(content.getvalue(), 9, mtime=0))
    total = sum(path.stat().st_size for path in CORE.glob("*.npz"))
    total += sum(path.stat().st_size for path in CORE.glob("*.gz"))
    print(f"{total} bytes")
    if total > 3_000_000:
        raise SystemExit("the core set is larger than 3 MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
