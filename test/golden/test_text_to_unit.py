"""The text-to-unit model against the authors' FastText2Unit."""

import pytest
import torch

from speechlm.conventions import PAD
from speechlm.models.text_to_unit import NO_UNIT, SPECIAL_CLASSES, UNUSED_KEYS, TextToUnit
from speechlm.models.unit_generator import TextToUnitConfig


@pytest.fixture
def arrays(golden_arrays):
    return golden_arrays("tiny_t2u_io.npz")


@pytest.fixture
def tiny_t2u(golden_checkpoint):
    """Function: config changes -> the authors' tiny model in evaluation mode."""
    checkpoint = golden_checkpoint("tiny_t2u.pt")
    args = checkpoint["args"]

    def build(**changes):
        options = {
            "embed_dim": args["encoder_embed_dim"],
            "heads": args["encoder_attention_heads"],
            "encoder_layers": args["encoder_layers"],
            "decoder_layers": args["decoder_layers"],
            "ffn_dim": args["fft_hidden_dim"],
            "ffn_kernel": args["fft_kernel_size"],
            "predictor_dim": args["var_pred_hidden_dim"],
            "ignore_padding": False,
        }
        config = TextToUnitConfig.from_dict({**options, **changes})
        weights = checkpoint["model"].items()
        units = len(checkpoint["model"]["encoder.out_proj.bias"]) - SPECIAL_CLASSES
        model = TextToUnit(config, len(checkpoint["src_symbols"]), units)
        model.load_state_dict({k: v for k, v in weights if not k.startswith(UNUSED_KEYS)})
        return model.eval()

    return build


def authors_targets(arrays):
    """Units as the authors score them: their padding index, 1, also stands for unit 1."""
    return arrays["in.target"].masked_fill(arrays["in.target"] == PAD, NO_UNIT)


def test_given_durations(tiny_t2u, arrays, close):
    model = tiny_t2u()
    seen, names = [], []
    for part in ("encoder", "decoder"):
        for index, layer in enumerate(getattr(model.encoder, f"{part}_fft_layers")):
            layer.register_forward_hook(lambda module, args, output: seen.append(output))
            names.append(f"{part}_layer_{index}_out")
    predicted = model.predict(arrays["in.src_tokens"], arrays["in.durations"])
    for name, output in zip(names, seen, strict=True):
        if arrays.optional(f"given_dur.{name}"):
            close(output, arrays[f"given_dur.{name}"], name)
    close(predicted.logits, arrays["given_dur.logits"], "logits")
    assert torch.equal(predicted.lengths, arrays["given_dur.out_lens"])
    valid = arrays["in.src_tokens"] != PAD
    close(predicted.log_durations[valid], arrays["log_dur_out"][valid], "log durations")


def test_length_regulator(tiny_t2u, arrays, close):
    model = tiny_t2u()
    positions = []
    model.encoder.decoder_fft_layers[0].register_forward_pre_hook(
        lambda module, args: positions.append(args[0])
    )
    with torch.no_grad():
        model.encoder.dec_pos_emb_alpha.zero_()
    model.predict(arrays["in.src_tokens"], arrays["in.durations"])
    close(positions[0], arrays["given_dur.length_regulator_out"])


def test_own_durations_and_units(tiny_t2u, arrays, close):
    model = tiny_t2u()
    phones = arrays["in.src_tokens"]
    predicted = model.predict(phones)
    close(predicted.logits, arrays["pred_dur.logits"], "logits")
    assert torch.equal(predicted.durations, arrays["pred_dur.durations"])
    assert torch.equal(predicted.lengths, arrays["pred_dur.out_lens"])
    for row, length in enumerate(predicted.lengths.tolist()):
        best = predicted.logits[row, :length].argmax(-1)
        assert torch.equal(best, arrays[f"pred_dur.units_{row}"])
        count = len(arrays[f"pred_dur.duration_{row}"])
        sources = phones[row, :count].repeat_interleave(predicted.durations[row, :count])
        assert torch.equal(sources, arrays[f"pred_dur.fa_src_{row}"])


@pytest.mark.parametrize("smoothing", [0.1, 0.0])
def test_losses(tiny_t2u, arrays, close, smoothing):
    model = tiny_t2u(label_smoothing=smoothing)
    loss, stats, weight = model(
        arrays["in.src_tokens"], arrays["in.durations"], authors_targets(arrays)
    )
    log = f"ls{smoothing:g}.log"
    close(loss, arrays[f"{log}.loss"], "loss")
    close(stats["loss_units"], arrays[f"{log}.ce_loss"], "ce")
    close(stats["loss_durations"], arrays[f"{log}.dur_loss"], "durations")
    assert weight == (authors_targets(arrays) != NO_UNIT).sum()


def test_gradient_norms(tiny_t2u, arrays, check_gradient_norms):
    model = tiny_t2u()
    model(arrays["in.src_tokens"], arrays["in.durations"], authors_targets(arrays))[0].backward()
    check_gradient_norms(
        model.named_parameters(),
        arrays["ls0.1.gradnorm_names"],
        arrays["ls0.1.gradnorm_values"],
        lambda name: None if name.startswith(UNUSED_KEYS) else name,
    )


def test_unit_1_is_scored(tiny_t2u, arrays):
    """Deliberate deviation: unit 1 is trained, where the authors take it for padding (though
    their accuracy counts it)."""
    lengths = arrays["in.target_lengths"]
    padding = torch.arange(arrays["in.target"].shape[1]) >= lengths[:, None]
    targets = arrays["in.target"].masked_fill(padding, NO_UNIT)
    assert (targets == 1).any()
    model = tiny_t2u()
    _, stats, weight = model(arrays["in.src_tokens"], arrays["in.durations"], targets)
    assert weight == lengths.sum() == arrays["ls0.1.log.total"]
    assert round(float(stats["accuracy"] * weight)) == arrays["ls0.1.log.n_correct"]
    *_, authors = model(arrays["in.src_tokens"], arrays["in.durations"], authors_targets(arrays))
    assert weight - authors == (targets == 1).sum()


def test_ignore_padding_makes_batches_equal_single_sentences(tiny_t2u, arrays, close):
    """Deliberate deviation: with ignore_padding neighbours in a batch change nothing."""
    phones, durations = arrays["in.src_tokens"], arrays["in.durations"]
    differs = []
    for ignore in (True, False):
        model = tiny_t2u(ignore_padding=ignore)
        batch = model.predict(phones, durations)
        length = int(arrays["in.src_lengths"][-1])
        alone = model.predict(phones[-1:, :length], durations[-1:, :length])
        units = int(alone.lengths)
        differs.append((batch.logits[-1, :units] - alone.logits[0]).abs().max())
        close(batch.logits[0], arrays["given_dur.logits"][0], "the longest has no padding")
    assert differs[0] < 1e-5
    assert differs[1] > 1e-3
