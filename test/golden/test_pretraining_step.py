"""One pre-training step against the authors' criterion: values, loss terms and gradients."""

import pytest
import torch

from speechlm.models import SpeechDraws
from speechlm.models.losses import predict_units

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


@pytest.fixture(params=CASES, ids=["base-50Hz", "base-100Hz", "large-50Hz"])
def step(request, golden_model, golden_arrays):
    """(model, arrays of the case, recorded values, speech output, text output)."""
    size, prefix = request.param
    arrays = golden_arrays(f"tiny_pretrain{size}_io.npz")

    value = Values(arrays, prefix)
    model = golden_model(f"tiny_pretrain{size}.pt", ctc_dropout=0.0).train()
    seen = record(model)
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

    output_of(model.feature_extractor, "conv_features")
    output_of(model.layer_norm, "features_layer_norm")
    output_of(model.post_extract_proj, "features_projected")
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


def test_speech_values(step, close):
    model, value, seen, speech, _ = step
    valid = ~value("speech.frame_padding_mask")
    for name in ("conv_features", "features_layer_norm", "features_projected", "pos_conv_out"):
        close(seen[name][0], value(f"speech.{name}"), name)
    close(seen["encoder_input_masked"][0], value("speech.encoder_input_masked"), "masked input")
    frames = valid.shape[1]
    for index in range(2):
        expected = value(f"speech.encoder_layer_{index}_out_TBC_padded_to_even")[:frames]
        close(seen[f"encoder_layer_{index}_out"][0], expected.transpose(0, 1), f"layer {index}")
    close(seen["encoder_out"][0], value("speech.encoder_out"), "encoder_out")
    close(seen["unit_encoder_input"][0], value("speech.unit_encoder_input"), "unit encoder input")
    attended = ~value("speech.unit_encoder_padding_mask")
    for index in range(2):
        expected = value(f"speech.unit_encoder_layer_{index}_out_TBC").transpose(0, 1)
        got = seen[f"unit_encoder_layer_{index}_out"][0]
        close(got[attended], expected[attended], f"shared layer {index}")
    expected = value("speech.unit_encoder_out_TBC").transpose(0, 1)
    close(seen["unit_encoder_out"][0], expected, "unit encoder out")
    name = "unit_encoder_after_layernorm_embedding"
    close(seen[name][0], value(f"speech.{name}"), name)
    assert torch.equal(speech.swapped, value("swap_indices"))
    assert torch.equal(speech.targets, value("speech.unit_encoder_src_tokens"))
    close(speech.feature_penalty, value("speech.features_pen"), "features_pen")


def test_predictions_at_both_depths(step, close):
    model, value, seen, speech, _ = step
    unmasked = ~value("in.speech_mask") & ~value("speech.frame_padding_mask")
    states = (seen["encoder_out"][0], seen["unit_encoder_out"][0])
    for depth, prediction in enumerate((speech.middle, speech.top)):
        close(prediction.logits, value(f"speech.logit_m_{depth}"), f"logit_m_{depth}", atol=1e-4)
        close(prediction.loss, value(f"log.loss_m_{depth}"), f"loss_m_{depth}")
        assert prediction.correct == value(f"log.correct_m_{depth}")
        assert speech.n_masked == value(f"log.count_m_{depth}")
        others = predict_units(
            states[depth][unmasked], speech.targets[unmasked], model.final_proj_list[depth],
            model.label_embs_list[depth], 0.1,
        )  # fmt: skip
        close(others.logits, value(f"speech.logit_u_{depth}"), f"logit_u_{depth}", atol=1e-4)
        close(others.loss, value(f"log.loss_u_{depth}"), f"loss_u_{depth}")
    scored = speech.masked & ~value("speech.frame_padding_mask")
    assert torch.equal(speech.targets[scored], value("speech.target_m_0"))


def test_text_values(step, close):
    _, value, seen, _, text = step
    close(seen["unit_encoder_input"][1], value("text.unit_encoder_input"), "text input")
    attended = ~value("text.unit_encoder_padding_mask")
    for index in range(2):
        expected = value(f"text.unit_encoder_layer_{index}_out_TBC").transpose(0, 1)
        got = seen[f"unit_encoder_layer_{index}_out"][1]
        close(got[attended], expected[attended], f"text layer {index}")
    name = "unit_encoder_after_layernorm_embedding"
    close(seen[name][1], value(f"text.{name}"), name)
    close(
        seen["unit_encoder_out"][1], value("text.unit_encoder_out_TBC").transpose(0, 1), "text out"
    )
    close(text.logits, value("text.ctc_logits_TBC").transpose(0, 1), "ctc logits")
    close(text.ctc, value("log.text_ctc_loss"), "ctc loss")
    assert text.n_tokens == value("in.text_ntokens")


def test_total_loss_and_gradients(step, close, check_gradient_norms):
    model, value, _, speech, text = step
    loss, stats, weight = model.total_loss(speech, text)
    assert weight == value("log.sample_size")
    close(loss * weight, value("log.loss"), "loss")
    close(10.0 * stats["feature_penalty"] * weight, value("log.loss_features_pen"), "penalty")
    (loss * weight).backward()
    names, norms = value("gradnorm_names"), value("gradnorm_values")
    checked = check_gradient_norms(model.named_parameters(remove_duplicate=False), names, norms)
    assert checked > 80
    parameters = dict(model.named_parameters())
    full = [name for name in ("mask_emb", *FULL_GRADIENTS) if f"grad.{name}" in value]
    assert "mask_emb" in full
    for name in full:
        expected = value(f"grad.{name}")
        tolerance = 2e-4 * expected.abs().max().item()
        close(parameters[name].grad, expected, name, atol=tolerance, rtol=0)
