"""SpeechLM: one Transformer pre-trained on unlabelled speech and unpaired text.

B batch, S samples (16 kHz), T frames of the front end (the paper's: 20 ms) or text units, C
front-end channels, D model width, L unit labels of an utterance, U characters, V units, N masked
frames.

waveform -> front end -> Speech Transformer -> [random swapping] -> Shared Transformer -> units
                                                 text units -----> Shared Transformer -> characters

A joint batch has B utterances and B' sentences, which meet in the Shared Transformer's weights
alone, not in one tensor: the two go through it one after the other. Of an utterance of ten frames
whose labels name the units a, b, c, with masked frames # and swapped ones in brackets, it sees

    target units           a   a   a   b   b   b   b   c   c   c
    Speech Transformer in  x   x   #   #   #   x   x   x   #   x       x features, # mask embedding
    middle prediction              a   b   b               c           of masked frames
    Shared Transformer in  h  [a]  h   h   h   h  [b]  h   h   h       h states, [u] unit embeddings
    top prediction                 a   b   b               c           of the same frames

and of a sentence of the units a b c, which its sampled durations have lengthened:

    Shared Transformer in  a   a   #   #   b   b   c   #   c   end     unit and mask embeddings
    CTC                    T H E _ W O R D S                           in any alignment
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from speechlm.conventions import PAD, Framing
from speechlm.kernels import fast
from speechlm.kernels.cast_weights import cast_once
from speechlm.kernels.dropout import dropout
from speechlm.kernels.gpu_losses import unit_losses
from speechlm.kernels.low_layers import run_low
from speechlm.models.config import SpeechLMConfig
from speechlm.models.ctc_head import CTCHead
from speechlm.models.fast_transformer import FastSharedEncoder, FastSpeechEncoder
from speechlm.models.front_end import (
    ConvolutionalFrontEnd,
    FrontEnd,
    normalize_waveform,
    scale_gradient,
)
from speechlm.models.heads import CTC_HEAD, UNIT_EMBEDDINGS, required
from speechlm.models.initial import initialize_fast, initialize_paper
from speechlm.models.inputs import (
    all_to_device,
    check_shapes,
    check_speech,
    evaluating,
    frame_padding,
    to_device,
    unless_empty,
)
from speechlm.models.labels import align_labels
from speechlm.models.log_mel import LogMelFrontEnd
from speechlm.models.losses import (
    UnitPrediction,
    ctc_fits,
    ctc_loss,
    feature_energy,
    predict_units,
    unit_logits,
)
from speechlm.models.masked_input import mask_frames, masked_units
from speechlm.models.masking import channel_mask, draw_masks, indices, span_mask
from speechlm.models.objective import total_loss
from speechlm.models.outputs import AugmentOptions, Encoded, SpeechDraws, SpeechOutput, TextOutput
from speechlm.models.swapping import swap_with_targets, trained_units
from speechlm.models.transformer import SharedEncoder, SpeechEncoder


class SpeechLM(nn.Module):
    """The model of "SpeechLM: Enhanced Speech Pre-Training with Unpaired Textual Data".

    Args:
        config: sizes and training behaviour.
        n_units: V, rows of the unit vocabulary with its special ids.
        n_characters: rows of the character vocabulary with its special ids; id 0 is the blank.

    Parameter names are those of the authors' checkpoints. A model trained on speech alone leaves
    the CTC head without gradient, layer drop leaves out layers: DistributedDataParallel needs
    `find_unused_parameters` then.
    """

    mask_groups = 1
    """Batches that are put together as one in training: parts of its rows, in whose masks rows have
    equally many frames (`span_mask`)."""
    unit_embed_tokens: nn.Embedding | None
    """None: taken out, see `without_heads`."""
    unit_encoder_ctc_head: CTCHead | None
    """None: taken out."""

    def __init__(self, config: SpeechLMConfig, n_units: int, n_characters: int):
        super().__init__()
        self.config = config
        dim, is_fast = config.embed_dim, config.is_fast
        self.mask_emb = nn.Parameter(torch.empty(dim).uniform_())
        front_end = LogMelFrontEnd if is_fast else ConvolutionalFrontEnd
        self.feature_extractor: FrontEnd = front_end(config)
        channels = self.feature_extractor.channels
        self.layer_norm = nn.LayerNorm(channels)
        self.post_extract_proj = nn.Linear(channels, dim) if is_fast or channels != dim else None
        self.encoder = (FastSpeechEncoder if is_fast else SpeechEncoder)(config)
        # Scores of units at two depths: cosines with an embedding of each, or of a linear layer
        depths, width = range(2), n_units if is_fast else config.unit_dim
        self.final_proj_list = nn.ModuleList(nn.Linear(dim, width) for _ in depths)
        self.label_embs_list = nn.ParameterList(
            nn.Parameter(torch.empty(n_units, width).uniform_()) for _ in depths if not is_fast
        )
        embed = nn.Embedding(n_units, dim, padding_idx=PAD)
        self.unit_embed_tokens = embed
        self.unit_encoder = (FastSharedEncoder if is_fast else SharedEncoder)(config, embed)
        head = CTCHead(dim, n_characters, config.ctc_dropout, config.ctc_outputs)
        self.unit_encoder_ctc_head = head
        if is_fast:
            parts = (self.feature_extractor, self.encoder, self.unit_encoder)
            initialize_fast(parts, (*self.final_proj_list, head.output_layer), embed)
        else:
            initialize_paper(self.encoder, self.unit_encoder, embed)

    @property
    def _groups(self) -> int:
        return self.mask_groups if self.training else 1

    @property
    def framing(self) -> Framing:
        """Which samples the model's frames are made of."""
        return self.feature_extractor.framing

    def forward(
        self,
        waveforms: Tensor,
        sample_lengths: Tensor,
        labels: Tensor,
        units: Tensor | None = None,
        characters: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """One pre-training step: loss, statistics, weight (see `total_loss`).

        Arguments as in `forward_speech` and `forward_text`; without text, speech-only training.
        A model on a GPU takes lengths, labels, units and characters from the host: what is padding
        and what is masked is decided there, so that nothing waits for the GPU. From the GPU it
        takes them, too, and waits for the number of masked frames and for the lengths of CTC.
        """
        text = None
        with cast_once(passes=2):
            speech = self.forward_speech(waveforms, sample_lengths, labels)
            if units is not None and characters is not None:
                text = self.forward_text(units, characters)
        return self.total_loss(speech, text)

    def forward_speech(
        self,
        waveforms: Tensor,
        sample_lengths: Tensor,
        labels: Tensor,
        label_rate: int | None = None,
        draws: SpeechDraws | None = None,
    ) -> SpeechOutput:
        """UMLM: predicts the units of masked frames at two depths (paper section III-B).

        Args:
            waveforms: (B, S), right-padded with zeros; already normalised for Large.
            sample_lengths: (B,) valid samples.
            labels: (B, L) units as model ids, right-padded with PAD.
            label_rate: labels a second; default config.label_rate.
            draws: random choices to use instead of drawing them.

        Raises:
            ValueError: labels that are too few, or of another batch size.
        """
        draws = draws or SpeechDraws()
        check_shapes(waveforms, sample_lengths, self.framing)
        # Features, cut to the labels, and a target unit for each frame: (B, T, C), (B, T)
        features = self._front_end(waveforms, sample_lengths)
        ratio = self.framing.labels_per_frame(label_rate or self.config.label_rate)
        offset = draws.label_offset
        if self.config.is_fast and offset is None:
            offset = ratio // 2  # the label in the middle of the frame, not one drawn at random
        features, targets = align_labels(features, labels, ratio, offset)
        feature_penalty = feature_energy(features)

        # Which frames are padding, masked, swapped, scored: known before anything waits for a GPU
        padding = self._padding(sample_lengths, waveforms, features)
        if self.config.is_fast:
            targets = targets.masked_fill(padding, PAD)  # labels of a rest that is no whole frame
        without = targets == PAD
        masked, swapped = draw_masks(padding | without, self.config, draws, self._groups)
        scored = indices(masked & ~padding)
        others = indices(~masked & ~padding & ~without) if self.config.unmasked_weight > 0 else None
        units = required(self.unit_embed_tokens, UNIT_EMBEDDINGS)
        trained = trained_units(targets, swapped, units.num_embeddings)
        hidden, blank, masked, swapped, targets, trained, scored, others = all_to_device(
            features,
            *(unless_empty(padding), unless_empty(without), masked, swapped, targets, trained),
            *(scored, others),
        )

        # Speech Transformer over features of which the masked ones are hidden: (B, T, D)
        x = mask_frames(self._project(features), masked, self.mask_emb)
        middle = self.encoder(x, hidden).last

        # Shared Transformer over its states, some of them swapped for their units' embeddings
        shared_input = swap_with_targets(middle, units, targets, swapped, trained)
        if hidden is not None:
            shared_input = shared_input.masked_fill(hidden[..., None], 0.0)
        top = self.unit_encoder(shared_input, blank).last

        # Units of the N masked frames, predicted at both depths
        predicted = self._predict((middle, top), targets, scored)
        unmasked = None
        if others is not None:
            unmasked = self._predict((middle, top), targets, others)
        return SpeechOutput(
            middle=predicted[0],
            top=predicted[1],
            unmasked=unmasked,
            feature_penalty=feature_penalty,
            n_masked=len(scored),
            targets=targets,
            masked=masked,
            swapped=swapped,
        )

    def forward_text(
        self, units: Tensor, characters: Tensor, mask: Tensor | None = None
    ) -> TextOutput:
        """UCTC: characters from masked unit sequences (paper section III-B).

        Args:
            units: (B, T) model ids, each sentence ended by EOS, right-padded with PAD.
            characters: (B, U) ids, each sentence ended by EOS, right-padded with PAD. A sentence
                with more of them than CTC can write in its units counts nowhere.
            mask: (B, T) bool to use instead of drawing spans.
        """
        padding = units == PAD
        lengths = (~padding).sum(1)
        outputs = lengths * self.config.ctc_outputs
        fits = ctc_fits(outputs, characters)
        if mask is None:
            config, width = self.config, units.shape[1]
            mask = span_mask(
                lengths, width, config.mask_prob, config.mask_length, groups=self._groups
            )
        n_tokens, n_impossible = ((characters != PAD) & fits[:, None]).sum(), (~fits).sum()
        hidden = to_device(unless_empty(padding), self.mask_emb)

        embed = required(self.unit_embed_tokens, UNIT_EMBEDDINGS)
        x = masked_units(units, mask, embed, self.mask_emb)
        logits = required(self.unit_encoder_ctc_head, CTC_HEAD)(self.unit_encoder(x, hidden).last)
        return TextOutput(
            ctc=ctc_loss(logits, outputs, characters),
            n_tokens=n_tokens,
            n_impossible=n_impossible,
            logits=logits,
        )

    def total_loss(
        self, speech: SpeechOutput, text: TextOutput | None = None
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The pre-training loss (paper eq. for L_total; weights from the config).

        (CE_middle + CE_top + 10 * penalty * N + 0.1 * CTC * N / characters) / N, N scored frames:
        the masked ones, and with `unmasked_weight` the others as well, whose cross entropies enter
        with that weight. Sentences that CTC cannot write in their units are in neither CTC nor
        characters.

        Returns:
            loss: (), per scored frame.
            stats: detached scalars; `loss_*` per masked frame or per character, in nats;
                `loss_ctc` is not a number if no sentence counts.
            weight: (), N. Gradients of several workers are averaged with this weight.
        """
        return total_loss(self.config, speech, text)

    def encode(
        self,
        waveforms: Tensor,
        sample_lengths: Tensor | None = None,
        augment: AugmentOptions | None = None,
    ) -> Encoded:
        """Hidden states of speech through both Transformers, without swapping.

        Args:
            waveforms: (B, S), right-padded with zeros.
            sample_lengths: (B,) valid samples; None: nothing is padding.
            augment: masks drawn for this batch; None: none (evaluation).
        """
        check_shapes(waveforms, sample_lengths, self.framing)
        if self.config.normalize_waveform:
            waveforms = normalize_waveform(waveforms, sample_lengths)
        features = self._front_end(waveforms, sample_lengths)
        batch, frames, _ = features.shape
        padding, lengths = None, torch.full((batch,), frames, device=features.device)
        if sample_lengths is not None:
            padding = self._padding(sample_lengths, waveforms, features)
            lengths = (~padding).sum(1)
        x = self._project(features)
        if augment is not None:
            x = self._augment(x, lengths, augment)
        middle = self.encoder(x, padding)
        shared_input = middle.last
        if padding is not None:
            shared_input = shared_input.masked_fill(padding[..., None], 0.0)
        top = self.unit_encoder(shared_input, padding)
        return Encoded(top.last, lengths, middle.layers + top.layers, padding, middle.last)

    def ctc_logits(self, encoded: Encoded) -> Tensor:
        """Character logits (B, (T + 1) N, n_characters) of speech, N `config.ctc_outputs`.

        Those of frame T + 1 are never scored.
        """
        return required(self.unit_encoder_ctc_head, CTC_HEAD)(encoded.features)

    def unit_logits(self, hidden: Tensor, depth: int) -> Tensor:
        """Scores (N, V) of the units for states (N, D) of depth 0 (middle) or 1 (top), float32."""
        embeddings = None if self.config.is_fast else self.label_embs_list[depth]
        project = self.final_proj_list[depth]
        return unit_logits(hidden, project, embeddings, self.config.temperature)

    @torch.no_grad()
    def extract_features(
        self, waveforms: Tensor, lengths: Tensor | None = None, layers: str = "last"
    ) -> tuple[Tensor | list[Tensor], Tensor]:
        """Representations of speech, in evaluation mode and without gradient.

        Args:
            waveforms: (B, S) float, 16 kHz, in [-1, 1], right-padded with zeros, on the model's
                device; another floating-point type than the weights' becomes theirs.
            lengths: (B,) valid samples, at least `framing.window`; None: nothing is padding.
            layers: "last" or "all".

        Returns:
            (features, frame_lengths): features (B, T, D) for "last", a list of (B, T, D), one a
            Transformer layer, for "all" (raw layer outputs, before any final norm);
            frame_lengths (B,).

        Raises:
            ValueError: `layers`, a shape, type, device or length is wrong.
        """
        if layers not in ("last", "all"):
            raise ValueError(f'layers: expected "last" or "all", got {layers!r}')
        # Energies of quiet channels would drown in the rounding of loud samples to half precision.
        like = self.mask_emb.float() if self.config.is_fast else self.mask_emb
        waveforms, lengths = check_speech(waveforms, lengths, self.framing, like)
        with evaluating(self):
            encoded = self.encode(waveforms, lengths)
        return (encoded.features if layers == "last" else encoded.layers), encoded.lengths

    def _front_end(self, waveforms: Tensor, sample_lengths: Tensor | None) -> Tensor:
        """(B, S) -> features (B, T, C), with the scaled gradient."""
        factor = self.config.feature_grad_mult
        with torch.set_grad_enabled(torch.is_grad_enabled() and factor > 0.0):
            features = self.feature_extractor(waveforms, sample_lengths)
        if factor > 0.0:
            features = scale_gradient(features, factor)
        return features

    def _padding(self, sample_lengths: Tensor, waveforms: Tensor, features: Tensor) -> Tensor:
        """(B, T) bool, True on frames that are padding."""
        framing = self.framing if self.config.ignore_padding else None
        return frame_padding(sample_lengths, waveforms.shape[1], features.shape[1], framing)

    def _project(self, features: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, D): layer norm, projection, dropout."""
        x = run_low(self.layer_norm, features)
        if self.post_extract_proj is not None:
            x = run_low(self.post_extract_proj, x)
        # The encoders of a fast model have the only dropout of their inputs.
        return x if self.config.is_fast else dropout(x, self.config.input_dropout, self.training)

    def _augment(self, x: Tensor, lengths: Tensor, augment: AugmentOptions) -> Tensor:
        """Time spans become the mask embedding, then channel spans become zero."""
        if augment.time_prob > 0.0:
            mask = span_mask(lengths, x.shape[1], augment.time_prob, augment.time_length)
            x = mask_frames(x, mask, self.mask_emb)
        if augment.channel_prob > 0.0:
            mask = channel_mask(x, augment.channel_prob, augment.channel_length)
            x = x.masked_fill(mask[:, None], 0.0)
        return x

    def _predict(
        self, depths: tuple[Tensor, Tensor], targets: Tensor, frames: Tensor
    ) -> tuple[UnitPrediction, UnitPrediction]:
        """UMLM at the two depths (B, T, D) for frames (N,), places in the flattened (B, T)."""
        targets = targets.flatten()[frames]
        if self.label_embs_list and fast("losses", depths[0]):
            projections, embeddings = cast(Any, self.final_proj_list), list(self.label_embs_list)
            losses, correct, logits = unit_losses(
                depths, frames, targets, projections, embeddings, self.config.temperature
            )
            first, second = map(UnitPrediction, logits, losses, correct)
            return first, second
        middle, top = (
            predict_units(self.unit_logits(hidden.flatten(0, 1)[frames], depth), targets)
            for depth, hidden in enumerate(depths)
        )
        return middle, top
