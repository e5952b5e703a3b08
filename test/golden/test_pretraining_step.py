"""One pre-training step against the authors' criterion: values, loss terms and gradients."""

import pytest
import torch

from speechlm.conventions import PAD
from speechlm.models import SpeechDraws
from speechlm.models.losses import ctc_loss, predict_units

CASES = [("", "p50"), ("", "p100"), ("_large", "p50")]
FULL_GRADIENTS = (
    "feature_extractor.conv_layers.0.0.weight",
    "encoder.pos_conv.0.weight_g",
    "encoder.pos_emb.pe_k.weight",
    "label_embs_list.0",
    "unit_embed_tokens.weight",
    "unit_encoder.layernorm_embedding.weight",
    "unit_encoder_ctc_head.1.weight",
)


class Values:
    """The golden values of one case."""

    def __init__(self, arrays, prefix):
        self.arrays, self.prefix = arrays, prefix

    def __call__(self, name):
        return self.arrays[f"{self.prefix}.{name}"]

    def __contains__(self, name):
        return f"{self.prefix}.{name}" in self.arrays

    def optional(self, name):
        return self.arrays.optional(f"{self.prefix}.{name}")

    def given(self, *names):
        """Those of the names that are here: all in the full set, some in the core."""
        return [name for name in names if self.optional(name)]


@pytest.fixture(params=CASES, ids=["base-50Hz", "base-100Hz", "large-50Hz"])
def step(request, golden_model, golden_arrays, monkeypatch):
    """(model, arrays of the case, recorded values, speech output, text output)."""
    size, prefix = request.param
    arrays = golden_arrays(f"tiny_pretrain{size}_io.npz")

    value = Values(arrays, prefix)
    model = golden_model(f"tiny_pretrain{size}.pt", ctc_dropout=0.0).train()
    seen = record(model)

    def spy(logits, lengths, characters):
        seen["ctc_input_lengths"] = lengths
        return ctc_loss(logits, lengths, characters)

    monkeypatch.setattr("speechlm.models.speechlm.ctc_loss", spy)
    source, padding = value("in.source"), value("in.padding_mask")
    speech = model.forward_speech(
        source,
        (~padding).sum(1),
        value("in.target_list_0"),
        label_rate=int(prefix[1:]),
        draws=SpeechDraws(
            value("in.speech_mask"), value("in.swap_selected"), int(value("in.label_offset"))
        ),
    )
    text = model.forward_text(
        value("in.text_src_tokens"), value("in.text_target"), mask=value("in.text_mask")
    )
    return model, value, seen, speech, text


def record(model):
    """Inputs and outputs of the parts, in calling order (speech first, then text)."""
    seen = {}

    def keep(name, tensor):
        seen.setdefault(name, []).append(tensor.detach())

    def output_of(module, name, pick=lambda output: output):
        module.register_forward_hook(lambda m, args, output: keep(name, pick(output)))

    def input_of(module, name):
        module.register_forward_pre_hook(lambda m, args: keep(name, args[0]))

    output_of(model.feature_extractor, "conv_features", lambda output: output.transpose(1, 2))
    input_of(model.layer_norm, "trimmed_conv_features")
    output_of(model.layer_norm, "features_layer_norm")
    # Without the projection, where widths are equal, the authors project nothing either.
    output_of(model.post_extract_proj or model.layer_norm, "features_projected")
    input_of(model.encoder, "encoder_input_masked")
    output_of(model.encoder.pos_conv, "pos_conv_out")
    output_of(model.encoder, "encoder_out", lambda output: output.last)
    input_of(model.unit_encoder, "unit_encoder_input")
    output_of(model.unit_encoder.layernorm_embedding, "unit_encoder_after_layernorm_embedding")
    output_of(model.unit_encoder, "unit_encoder_out", lambda output: output.last)
    for name, encoder in (("encoder", model.encoder), ("unit_encoder", model.unit_encoder)):
        for index, layer in enumerate(encoder.layers):
            output_of(layer, f"{name}_layer_{index}_out")
    return seen


def states_of(model):
    """Names of the Shared Transformer's states."""
    layers = range(len(model.unit_encoder.layers))
    return [*(f"unit_encoder_layer_{index}_out" for index in layers), "unit_encoder_out"]


def test_speech_encoder_values(step, close):
    model, value, seen, speech, _ = step
    parts = (
        "conv_features",
        "trimmed_conv_features",
        "features_layer_norm",
        "features_projected",
        "encoder_input_masked",
        "pos_conv_out",
        "encoder_out",
    )
    for name in value.given(*(f"speech.{part}" for part in parts)):
        close(seen[name.removeprefix("speech.")][0], value(name), name)
    frames = speech.targets.shape[1]
    for index in range(len(model.encoder.layers)):
        name = f"speech.encoder_layer_{index}_out_TBC_padded_to_even"
        if value.optional(name):
            expected = value(name)[:frames].transpose(0, 1)
            close(seen[f"encoder_layer_{index}_out"][0], expected, name)
    close(speech.feature_penalty, value("speech.features_pen"), "features_pen")


def test_speech_in_the_shared_encoder(step, close):
    model, value, seen, speech, _ = step
    assert torch.equal(speech.swapped, value("swap_indices"))
    assert torch.equal(speech.targets, value("speech.unit_encoder_src_tokens"))
    parts = ("unit_encoder_input", "unit_encoder_after_layernorm_embedding")
    for name in value.given(*(f"speech.{part}" for part in parts)):
        close(seen[name.removeprefix("speech.")][0], value(name), name)
    attended = ~value("speech.unit_encoder_padding_mask")
    assert torch.equal(attended, speech.targets != PAD)
    parts = states_of(model)
    for name in value.given(*(f"speech.{part}_TBC" for part in parts)):
        got = seen[name.removeprefix("speech.").removesuffix("_TBC")][0]
        close(got[attended], value(name).transpose(0, 1)[attended], name)


def test_predictions_at_both_depths(step, close):
    model, value, seen, speech, _ = step
    unmasked = ~value("in.speech_mask") & ~value("speech.frame_padding_mask")
    scored = speech.masked & ~value("speech.frame_padding_mask")
    states = (seen["encoder_out"][0], seen["unit_encoder_out"][0])
    for depth, prediction in enumerate((speech.middle, speech.top)):
        close(prediction.logits, value(f"speech.logit_m_{depth}"), f"logit_m_{depth}")
        close(prediction.loss, value(f"log.loss_m_{depth}"), f"loss_m_{depth}")
        assert prediction.correct == value(f"log.correct_m_{depth}")
        assert speech.n_masked == value(f"log.count_m_{depth}")
        targets = speech.targets[scored]
        assert torch.equal(targets, value(f"speech.target_m_{depth}"))
        logits = model.unit_logits(states[depth][unmasked], depth)
        others = predict_units(logits, speech.targets[unmasked])
        if value.optional(f"speech.logit_u_{depth}"):
            close(others.logits, value(f"speech.logit_u_{depth}"), f"logit_u_{depth}")
        close(others.loss, value(f"log.loss_u_{depth}"), f"loss_u_{depth}")
        assert torch.equal(speech.targets[unmasked], value(f"speech.target_u_{depth}"))


def test_text_values(step, close):
    model, value, seen, _, text = step
    tokens = value("in.text_src_tokens")
    attended = tokens != PAD
    parts = ("unit_encoder_input", "unit_encoder_after_layernorm_embedding")
    for name in value.given(*(f"text.{part}" for part in parts)):
        close(seen[name.removeprefix("text.")][1], value(name), name)
    parts = states_of(model)
    for name in value.given(*(f"text.{part}_TBC" for part in parts)):
        got = seen[name.removeprefix("text.").removesuffix("_TBC")][1]
        close(got[attended], value(name).transpose(0, 1)[attended], name)
    if value.optional("text.ctc_logits_TBC"):
        close(text.logits, value("text.ctc_logits_TBC").transpose(0, 1), "ctc logits")
    for part in ("ctc_padding_mask", "unit_encoder_padding_mask"):
        assert torch.equal(~attended, value(f"text.{part}"))
    assert torch.equal(value("text.unit_encoder_src_tokens"), tokens)
    assert torch.equal(seen["ctc_input_lengths"], value("text.ctc_input_lengths"))
    close(text.ctc, value("log.text_ctc_loss"), "ctc loss")
    assert text.n_tokens == value("in.text_ntokens") == value("log.text_sample_size")


def test_total_loss_and_gradients(step, close, check_gradient_norms):
    model, value, _, speech, text = step
    loss, stats, weight = model.total_loss(speech, text)
    assert weight == value("log.sample_size") == value("log.ntokens")
    assert len(speech.targets) + len(text.logits) == value("log.nsentences")
    close(loss * weight, value("log.loss"), "loss")
    close(
        model.config.feature_penalty_weight * stats["feature_penalty"] * weight,
        value("log.loss_features_pen"),
        "penalty",
    )
    (loss * weight).backward()
    names, norms = value("gradnorm_names"), value("gradnorm_values")
    check_gradient_norms(model.named_parameters(remove_duplicate=False), names, norms)
    parameters = dict(model.named_parameters())
    full = [name for name in ("mask_emb", *FULL_GRADIENTS) if f"grad.{name}" in value]
    assert "mask_emb" in full
    for name in full:
        expected = value(f"grad.{name}")
        tolerance = 2e-4 * expected.abs().max().item()
        close(parameters[name].grad, expected, name, atol=tolerance, rtol=0)
