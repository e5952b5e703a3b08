"""Speech translation, encoder and decoder, against the authors' model."""

import pytest
import torch

from speechlm.conventions import PAD
from speechlm.models.translation_decoder import TranslationDecoder, TranslationDecoderConfig

RECORDED = 9
"""The position at which the authors' incremental decoding recorded its layers."""


@pytest.fixture
def value(golden_arrays):
    return golden_arrays("st_decoder_io.npz")


@pytest.fixture
def decoder(golden_checkpoint):
    checkpoint = golden_checkpoint("st_decoder.pt")
    cfg = checkpoint["cfg"]
    config = TranslationDecoderConfig(
        encoder_dim=cfg["encoder_embed_dim"],
        embed_dim=cfg["decoder_embed_dim"],
        ffn_dim=cfg["decoder_ffn_embed_dim"],
        layers=cfg["decoder_layers"],
        heads=cfg["decoder_attention_heads"],
        relative_clip=len(checkpoint["decoder"]["decoder.pos_emb.pe_k.weight"]) // 2,
    )
    decoder = TranslationDecoder(config, len(checkpoint["tgt_symbols"]))
    weights = {k.removeprefix("decoder."): v for k, v in checkpoint["decoder"].items()}
    decoder.load_state_dict(weights)
    return decoder.eval()


@pytest.fixture
def encoder(golden_model):
    return golden_model("tiny_pretrain.pt", feature_grad_mult=1.0).eval()


@pytest.fixture
def speech(value):
    """(features, padding) that the authors' encoder gave."""
    return value["encoder_out_TBC"].transpose(0, 1), value["encoder_padding_mask"]


@pytest.fixture
def waveforms(value, padded_inputs):
    """(waveforms, lengths): the padded batch of the feature extraction."""
    source, lengths = padded_inputs("batch", normalize=False)
    assert torch.equal(lengths, value["src_lengths"])
    if value.optional("source"):
        assert torch.equal(source, value["source"])
    return source, lengths


def test_encoder(encoder, waveforms, value, close):
    features, lengths = encoder.extract_features(*waveforms)
    close(features, value["encoder_out_TBC"].transpose(0, 1))
    assert torch.equal(lengths, (~value["encoder_padding_mask"]).sum(1))


def test_teacher_forcing(decoder, speech, value, close):
    tokens = value["prev_output_tokens"]
    logits = decoder(*speech, tokens)
    valid = tokens != PAD
    close(logits[valid], value["logits"][valid], "logits")


def test_loss_and_gradients(encoder, decoder, waveforms, value, close, check_gradient_norms):
    encoded = encoder.encode(*waveforms)
    loss, stats, weight = decoder.loss(encoded.features, encoded.padding, value["target"])
    assert weight == (value["target"] != PAD).sum()
    close(loss * weight, value["label_smoothed_loss_sum_eps0.1"], "loss")
    close(stats["nll"] * weight, value["nll_sum"], "nll")
    (loss * weight).backward()
    parameters = [(f"decoder.{name}", p) for name, p in decoder.named_parameters()]
    prefix = "encoder.w2v_model."
    parameters += [
        (prefix + name, p) for name, p in encoder.named_parameters(remove_duplicate=False)
    ]
    names = value["gradnorm_names"]
    check_gradient_norms(parameters, names, value["gradnorm_values"])


def test_steps_equal_teacher_forcing(decoder, speech, value, close):
    """One token at a time with kept keys and values, as in beam search."""
    tokens = value["prev_output_tokens"]
    seen = []
    for layer in decoder.layers:
        layer.final_layer_norm.register_forward_hook(lambda m, args, output: seen.append(output))
    state = decoder.start(*speech)
    for position in range(tokens.shape[1]):
        logits, state = decoder.step(tokens[:, position, None], state)
        valid = tokens[:, position] != PAD
        close(logits[valid, 0], value["logits"][valid, position], f"token {position}")
    layers = len(decoder.layers)
    for index, output in enumerate(seen[RECORDED * layers :][:layers]):
        close(output[:, 0], value[f"decoder_layer_{index}_out_TBC"][0], f"layer {index}")
