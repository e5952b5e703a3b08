"""The text-to-unit model of `other_sizes`."""

import copy

import torch

from speechlm.conventions import EOS, PAD
from speechlm.models.text_to_unit import NO_UNIT, TextToUnit
from speechlm.models.unit_generator import TextToUnitConfig

PHONES, HIDDEN = 40, 15


def shaken(model):
    """The model, with norms and biases that do something."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    return model


def gradients(named_parameters, prefix=""):
    """gradnorm_names and gradnorm_values, -1 where there is none."""
    norms = {n: -1.0 if p.grad is None else p.grad.norm().item() for n, p in named_parameters}
    return {f"{prefix}gradnorm_names": list(norms), f"{prefix}gradnorm_values": [*norms.values()]}


def text_to_unit(args):
    """tiny_t2u.pt and its arrays, from the options of another one."""
    args = args | {
        "encoder_embed_dim": 24,
        "encoder_attention_heads": 3,
        "encoder_layers": 3,
        "decoder_layers": 1,
        "fft_hidden_dim": 40,
        "fft_kernel_size": 5,
        "var_pred_hidden_dim": 16,
    }
    config = TextToUnitConfig(24, 3, 3, 1, 40, 5, 16, ignore_padding=False)
    model = shaken(TextToUnit(config, PHONES, HIDDEN)).eval()
    with torch.no_grad():  # durations of a few units
        model.encoder.duration_predictor.proj.bias.fill_(1.2)
    lengths = torch.tensor([12, 10, 7])
    phones = torch.randint(4, PHONES, (3, 12))
    phones[torch.arange(3), lengths - 1] = EOS
    phones = phones.masked_fill(torch.arange(12) >= lengths[:, None], PAD)
    durations = torch.randint(1, 5, (3, 12)).masked_fill(phones < 4, 0)
    durations[0] += 2 * (phones[0] >= 4)  # the longest of the batch
    counts = durations.sum(1)
    target = torch.randint(0, HIDDEN, (3, int(counts.max())))
    target[:, 0] = 1
    target[torch.arange(3), counts - 1] = 3  # unit 1 at the end would be taken for padding
    target = target.masked_fill(torch.arange(target.shape[1]) >= counts[:, None], PAD)
    arrays = {"src_tokens": phones, "src_lengths": lengths, "durations": durations}
    arrays |= {"target": target, "target_lengths": counts}
    arrays = {f"in.{name}": value for name, value in arrays.items()}
    arrays |= unit_predictions(model, phones, durations)
    arrays |= unit_losses(model, config, phones, durations, target)
    symbols = [str(n) for n in range(PHONES)]
    checkpoint = {"args": args, "model": model.state_dict(), "src_symbols": symbols}
    return checkpoint, arrays


def unit_predictions(model, phones, durations):
    """What the model says with given and with its own durations."""
    found = {}
    hooks = []
    for part in ("encoder", "decoder"):
        for index, layer in enumerate(getattr(model.encoder, f"{part}_fft_layers")):
            name = f"given_dur.{part}_layer_{index}_out"
            hooks.append(
                layer.register_forward_hook(lambda m, a, out, n=name: found.__setitem__(n, out))
            )
    given = model.predict(phones, durations)
    for hook in hooks:
        hook.remove()
    found |= {"given_dur.logits": given.logits, "given_dur.out_lens": given.lengths}
    found["log_dur_out"] = given.log_durations
    repeated = copy.deepcopy(model)
    inputs = []
    repeated.encoder.decoder_fft_layers[0].register_forward_pre_hook(
        lambda m, args: inputs.append(args[0])
    )
    with torch.no_grad():
        repeated.encoder.dec_pos_emb_alpha.zero_()
    repeated.predict(phones, durations)
    found["given_dur.length_regulator_out"] = inputs[0]
    own = model.predict(phones)
    found |= {"pred_dur.logits": own.logits, "pred_dur.durations": own.durations}
    found["pred_dur.out_lens"] = own.lengths
    for row, length in enumerate(own.lengths.tolist()):
        count = int((phones[row] != PAD).sum())
        found[f"pred_dur.units_{row}"] = own.logits[row, :length].argmax(-1)
        found[f"pred_dur.duration_{row}"] = own.durations[row, :count]
        sources = phones[row, :count].repeat_interleave(own.durations[row, :count])
        found[f"pred_dur.fa_src_{row}"] = sources
    return found


def unit_losses(model, config, phones, durations, target):
    """Losses with and without label smoothing, and gradients with it."""
    found = {}
    for smoothing in (0.1, 0.0):
        values = {**config.to_dict(), "label_smoothing": smoothing}
        used = TextToUnit(TextToUnitConfig.from_dict(values), PHONES, HIDDEN).eval()
        used.load_state_dict(model.state_dict())
        scored = target.masked_fill(target == PAD, NO_UNIT)
        loss, stats, _ = used(phones, durations, scored)
        loss.backward()
        log = f"ls{smoothing:g}"
        found |= {f"{log}.log.loss": loss, f"{log}.log.ce_loss": stats["loss_units"]}
        found[f"{log}.log.dur_loss"] = stats["loss_durations"]
        found |= gradients(used.named_parameters(), f"{log}.")
        every = target.masked_fill(torch.arange(target.shape[1]) >= durations.sum(1)[:, None], -1)
        *_, stats, weight = used(phones, durations, every)
        found[f"{log}.log.total"] = weight
        found[f"{log}.log.n_correct"] = (stats["accuracy"] * weight).round()
    return found
