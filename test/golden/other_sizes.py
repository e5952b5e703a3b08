"""Makes a full golden set of other sizes with this project's models: python other_sizes.py FOLDER.

Its values say nothing of the authors' code. Its use is that the tests of this folder must pass on
it: then they take all sizes from the set that they read (`test_other_sizes`).
"""

import copy
import gzip
import importlib.util
import io
import sys
from pathlib import Path

import numpy as np
import torch

from speechlm import kernels
from speechlm.conventions import EOS, PAD
from speechlm.models import SpeechDraws, SpeechLM, SpeechLMConfig
from speechlm.models.heads import HEADS
from speechlm.models.inputs import frame_padding
from speechlm.models.losses import ctc_loss, predict_units
from speechlm.models.masking import span_mask
from speechlm.models.translation_decoder import TranslationDecoder, TranslationDecoderConfig

CORE = Path(__file__).resolve().parent


def module(name):
    """A file of this folder."""
    spec = importlib.util.spec_from_file_location(f"golden_{name}", CORE / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


conftest, extraction_tests, step_tests = map(
    module, ("conftest", "test_extract_features", "test_pretraining_step")
)
phones_to_units = module("other_text_to_unit")
shaken, gradients = phones_to_units.shaken, phones_to_units.gradients
UNITS, CHARACTERS, TARGETS = 30, 33, 23
SIZES = {
    "conv_feature_layers": "[(24,10,5)] + [(24,3,2)] * 5 + [(40,2,2)]",
    "encoder_embed_dim": 64,
    "encoder_ffn_embed_dim": 80,
    "encoder_attention_heads": 2,
    "encoder_layers": 3,
    "final_dim": 20,
    "conv_pos": 8,
    "conv_pos_groups": 8,
}
SHARED_SIZES = {"embed_dim": 64, "ffn_embed_dim": 80, "attention_heads": 2, "layers": 1}
DROPOUTS = ("dropout", "attention_dropout", "activation_dropout", "dropout_input")


def core(name):
    """A checkpoint of the core set."""
    content = gzip.decompress((CORE / f"{name}.pt.gz").read_bytes())
    return torch.load(io.BytesIO(content), weights_only=True)


def resized(cfg):
    """The authors' configuration with other sizes, and without dropout."""
    cfg = copy.deepcopy(cfg)
    model, text = cfg["model"], cfg["model"]["text_transformer"]
    model |= SIZES | dict.fromkeys(DROPOUTS, 0.0) | {"encoder_layerdrop": 0.0}
    text["encoder"] |= SHARED_SIZES | {"layerdrop": 0.0}
    text["max_source_positions"] = 400
    return cfg


def speech_model(cfg):
    """A random SpeechLM of a configuration."""
    width = cfg["model"]["encoder_embed_dim"] // cfg["model"]["encoder_attention_heads"]
    table = {"encoder.pos_emb.pe_k.weight": torch.empty(320, width)}
    config = conftest.config_of({"cfg": cfg, "model": table})
    return shaken(SpeechLM(config, UNITS, CHARACTERS))


def changed(model, **changes):
    """A copy of a model, with other values of its configuration."""
    config = SpeechLMConfig.from_dict({**model.config.to_dict(), **changes})
    other = SpeechLM(config, UNITS, CHARACTERS)
    other.load_state_dict(model.state_dict())
    return other


def parameters_of(model, prefix=""):
    """Named parameters, those of two names twice."""
    return [(prefix + n, p) for n, p in model.named_parameters(remove_duplicate=False)]


def extraction(model, waves, large):
    """The arrays of `tiny_base_io.npz` or `tiny_large_io.npz`."""
    arrays = dict(waves)
    for case in (*extraction_tests.CASES,):
        used = changed(model, normalize_waveform=False) if case == "batch_nomask" else model
        used.eval()
        inputs = []
        hook = used.encoder.register_forward_pre_hook(
            lambda m, args, seen=inputs: seen.append(args)
        )
        states = []
        other = used.encoder.register_forward_hook(lambda m, a, out, seen=states: seen.append(out))
        waveforms, lengths = conftest.pad_waves(waves, case, large)
        source = waveforms
        if used.config.normalize_waveform:
            source = extraction_tests.normalize_waveform(waveforms, lengths)
        with torch.no_grad():
            encoded = used.encode(waveforms, lengths)
        hook.remove()
        other.remove()
        found = {"source": source, "last": encoded.features, "ret_conv": inputs[0][0]}
        if encoded.padding is not None:
            found["frame_padding_mask"] = encoded.padding
            found["ret_conv"] = inputs[0][0].masked_fill(encoded.padding[..., None], 0.0)
        found |= {f"layer_results.{i}": layer for i, layer in enumerate(encoded.layers)}
        outputs = (*states[0].layers[:-1], states[0].last)
        found |= {f"rep_output_layer_{i}": output for i, output in enumerate(outputs, 1)}
        arrays |= {f"{case}.{name}": value for name, value in found.items()}
    wave = waves["wav_c"][None]
    if large:
        wave = extraction_tests.normalize_waveform(wave)
    arrays["conv_out.single_c"] = model.feature_extractor(wave).transpose(1, 2)
    return arrays


def step_inputs(model, rate):
    """Speech and text of a pre-training step."""
    samples = torch.tensor([20000, 16000, 9000] if rate == 50 else [20000, 20000])
    source = 0.3 * torch.randn(len(samples), 20000)
    padding = torch.arange(20000) >= samples[:, None]
    source = source.masked_fill(padding, 0.0)
    counts = model.framing.frames(samples) * rate // 50 - 1
    labels = torch.randint(4, UNITS - 1, (len(samples), int(counts.max())))
    labels = labels.masked_fill(torch.arange(labels.shape[1]) >= counts[:, None], PAD)
    units = torch.randint(4, UNITS - 1, (2, 50))
    characters = torch.randint(4, CHARACTERS - 1, (2, 12))
    for rows, ends in ((units, (49, 37)), (characters, (11, 8))):
        for row, end in enumerate(ends):
            rows[row, end] = EOS
            rows[row, end + 1 :] = PAD
    config = model.config
    lengths = (units != PAD).sum(1)
    return {
        "source": source,
        "padding_mask": padding,
        "target_list_0": labels,
        "label_offset": 1 if rate == 100 else 0,
        "text_src_tokens": units,
        "text_target": characters,
        "text_ntokens": (characters != PAD).sum(),
        "text_mask": span_mask(lengths, units.shape[1], config.mask_prob, config.mask_length),
    }


def step(model, rate):
    """The arrays of a pre-training step, without the prefix of the case."""
    model = changed(model, ctc_dropout=0.0).train()
    inputs, seen = step_inputs(model, rate), step_tests.record(model)
    samples = (~inputs["padding_mask"]).sum(1)
    draws = SpeechDraws(label_offset=inputs["label_offset"])
    speech = model.forward_speech(inputs["source"], samples, inputs["target_list_0"], rate, draws)
    units, characters = inputs["text_src_tokens"], inputs["text_target"]
    text = model.forward_text(units, characters, inputs["text_mask"])
    loss, stats, weight = model.total_loss(speech, text)
    (loss * weight).backward()
    inputs |= {"speech_mask": speech.masked, "swap_selected": speech.swapped}
    frames = speech.targets.shape[1]
    padding = frame_padding(samples, inputs["source"].shape[1], frames, None)
    found = {f"in.{name}": value for name, value in inputs.items()}
    found |= {"swap_indices": speech.swapped, "speech.frame_padding_mask": padding}
    found |= states(seen)
    found |= predictions(model, seen, speech, padding)
    found |= {
        "speech.features_pen": speech.feature_penalty,
        "speech.unit_encoder_src_tokens": speech.targets,
        "speech.unit_encoder_padding_mask": speech.targets == PAD,
        "text.unit_encoder_src_tokens": units,
        "text.unit_encoder_padding_mask": units == PAD,
        "text.ctc_padding_mask": units == PAD,
        "text.ctc_input_lengths": (units != PAD).sum(1),
        "text.ctc_logits_TBC": text.logits.transpose(0, 1),
        "log.text_ctc_loss": text.ctc,
        "log.text_sample_size": text.n_tokens,
        "log.sample_size": weight,
        "log.ntokens": weight,
        "log.nsentences": len(speech.targets) + len(units),
        "log.loss": loss * weight,
        "log.loss_features_pen": model.config.feature_penalty_weight
        * stats["feature_penalty"]
        * weight,
    }
    full = dict(parameters_of(model))
    names = ("mask_emb", *step_tests.FULL_GRADIENTS)
    found |= {f"grad.{name}": full[name].grad for name in names}
    return found | gradients(parameters_of(model))


def states(seen):
    """Recorded inputs and outputs of a step, by the authors' names."""
    found = {}
    for name, values in seen.items():
        for part, value in zip(("speech", "text"), values, strict=False):
            if name.startswith("unit_encoder") and name.endswith("_out"):
                found[f"{part}.{name}_TBC"] = value.transpose(0, 1)
            elif name.startswith("encoder_layer"):
                found[f"{part}.{name}_TBC_padded_to_even"] = value.transpose(0, 1)
            else:
                found[f"{part}.{name}"] = value
    return found


def predictions(model, seen, speech, padding):
    """Logits, losses and hits at both depths, of masked frames and of the others."""
    found = {}
    unmasked = ~speech.masked & ~padding
    for depth, output in enumerate(("encoder_out", "unit_encoder_out")):
        masked = (speech.middle, speech.top)[depth]
        logits = model.unit_logits(seen[output][0][unmasked], depth)
        others = predict_units(logits, speech.targets[unmasked])
        targets = speech.targets[speech.masked & ~padding]
        found |= {
            f"speech.logit_m_{depth}": masked.logits,
            f"speech.target_m_{depth}": targets,
            f"log.loss_m_{depth}": masked.loss,
            f"log.correct_m_{depth}": masked.correct,
            f"log.count_m_{depth}": speech.n_masked,
            f"speech.logit_u_{depth}": others.logits,
            f"speech.target_u_{depth}": speech.targets[unmasked],
            f"log.loss_u_{depth}": others.loss,
        }
    return found


def ctc(model, waves, large):
    """The arrays of CTC fine-tuning, without the prefix of the size."""
    model = changed(model, feature_grad_mult=0.0).eval()
    batch, lengths = conftest.pad_waves(waves, "batch", large)
    encoded = model.encode(batch, lengths)
    logits = model.ctc_logits(encoded)
    target = torch.randint(4, CHARACTERS - 1, (len(batch), 9))
    target[:, -1] = EOS
    loss = ctc_loss(logits, encoded.lengths, target)
    loss.backward()
    single = model.ctc_logits(model.encode(batch[:1], lengths[:1]))
    return {
        "logits_TBC": logits.transpose(0, 1),
        "input_lengths": encoded.lengths,
        "out_padding_mask": encoded.padding,
        "greedy_frames_BT": logits.argmax(-1),
        "target": target,
        "target_lengths": (target > EOS).sum(1),
        "sample_size": len(target),
        "ctc_loss_sum": loss,
        "single.logits_TBC": single.transpose(0, 1),
        **gradients(parameters_of(model, "w2v_encoder.w2v_model.")),
    }


def translation(encoder, waves):
    """st_decoder.pt and its arrays."""
    cfg = core("st_decoder")["cfg"] | {
        "encoder_embed_dim": 64,
        "decoder_embed_dim": 40,
        "decoder_output_dim": 40,
        "decoder_ffn_embed_dim": 56,
        "decoder_layers": 3,
        "decoder_attention_heads": 5,
    }
    shape = dict(encoder_dim=64, embed_dim=40, ffn_dim=56, layers=3, heads=5)
    decoder = shaken(TranslationDecoder(TranslationDecoderConfig(**shape), TARGETS)).eval()
    encoder = changed(encoder, feature_grad_mult=1.0).eval()
    source, lengths = conftest.pad_waves(waves, "batch", False)
    encoded = encoder.encode(source, lengths)
    target = torch.randint(4, TARGETS, (len(source), 15))
    target[:, 12] = EOS
    target[:, 13:] = PAD
    tokens = target.roll(1, 1)
    tokens[:, 0] = EOS
    tokens = tokens.masked_fill(target == PAD, PAD)
    layers = {}
    for index, layer in enumerate(decoder.layers):
        layer.register_forward_hook(lambda m, a, output, n=index: layers.__setitem__(n, output))
    logits = decoder(encoded.features, encoded.padding, tokens)
    loss, stats, weight = decoder.loss(encoded.features, encoded.padding, target)
    (loss * weight).backward()
    named = parameters_of(decoder, "decoder.") + parameters_of(encoder, "encoder.w2v_model.")
    recorded = module("test_translation_decoder").RECORDED
    arrays = {
        "source": source,
        "src_lengths": lengths,
        "encoder_out_TBC": encoded.features.transpose(0, 1),
        "encoder_padding_mask": encoded.padding,
        "prev_output_tokens": tokens,
        "target": target,
        "logits": logits,
        "label_smoothed_loss_sum_eps0.1": loss * weight,
        "nll_sum": stats["nll"] * weight,
        **gradients(named),
    }
    for index, output in layers.items():
        arrays[f"decoder_layer_{index}_out_TBC"] = output[:, recorded][None]
    weights = {f"decoder.{name}": value for name, value in decoder.state_dict().items()}
    symbols = [str(n) for n in range(TARGETS)]
    return {"cfg": cfg, "decoder": weights, "tgt_symbols": symbols}, arrays


def write(folder, name, arrays):
    """An .npz file of tensors, numbers and lists of names."""
    plain = {
        key: np.asarray(torch.as_tensor(value).detach())
        for key, value in arrays.items()
        if not (isinstance(value, list) and isinstance(value[0], str))
    }
    names = {key: np.array(value) for key, value in arrays.items() if key not in plain}
    np.savez(folder / name, **plain, **names)


def make(folder):
    """Write the whole set."""
    torch.manual_seed(7)
    waves = {
        f"wav_{name}": 0.2 * torch.randn(count)
        for name, count in {"a": 64100, "b": 40321, "c": 11111}.items()
    }
    tuned = {}
    for size, source in (("base", "tiny_pretrain"), ("large", "tiny_large")):
        cfg, large = resized(core(source)["cfg"]), size == "large"
        model = speech_model(cfg)
        weights = model.state_dict()
        cleaned = {name: value for name, value in weights.items() if not dropped(name)}
        torch.save({"cfg": cfg, "model": cleaned}, folder / f"tiny_{size}.pt")
        write(folder, f"tiny_{size}_io.npz", extraction(model, waves, large))
        symbols = {
            "label_symbols": [str(n) for n in range(UNITS)],
            "text_src_symbols": [str(n) for n in range(UNITS)],
            "text_tgt_symbols": core("tiny_pretrain")["text_tgt_symbols"],
        }
        suffix = "_large" if large else ""
        full = {"cfg": cfg, "model": weights, **symbols}
        torch.save(full, folder / f"tiny_pretrain{suffix}.pt")
        steps = {
            f"p{rate}.{name}": value
            for rate in ((50,) if large else (50, 100))
            for name, value in step(model, rate).items()
        }
        write(folder, f"tiny_pretrain{suffix}_io.npz", steps)
        tuned |= {f"{size}.{name}": value for name, value in ctc(model, waves, large).items()}
        if not large:
            checkpoint, arrays = translation(model, waves)
            torch.save(checkpoint, folder / "st_decoder.pt")
            write(folder, "st_decoder_io.npz", arrays)
    write(folder, "ctc_finetune_io.npz", tuned)
    checkpoint, arrays = phones_to_units.text_to_unit(core("tiny_t2u")["args"])
    torch.save(checkpoint, folder / "tiny_t2u.pt")
    write(folder, "tiny_t2u_io.npz", arrays)


def dropped(name):
    """Whether a cleaned checkpoint lacks a weight."""
    return name.startswith(HEADS) and not name.startswith("final_proj_list.")


if __name__ == "__main__":
    with kernels.plain():
        make(Path(sys.argv[1]))
