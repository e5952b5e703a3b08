"""Training of a Transformer language model of words, as ESPnet's language model task.

The network, its loss and the names of its weights are ESPnet's: what is trained here its tools can
read, and `espnet2.bin.lm_calc_perplexity` gives the same perplexity. Ours are the way from a text
to batches, without ids, shape files or a copy of the text, and the output layer's memory, which is
bounded for vocabularies of any size. Importing this module changes nothing of ESPnet's.

B sentences, L words of the longest, N words of a batch without padding, D width, V tokens.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from espnet2.lm.espnet_model import ESPnetLanguageModel
from espnet2.lm.transformer_lm import TransformerLM
from espnet2.tasks.abs_task import IteratorOptions
from espnet2.tasks.lm import LMTask
from espnet2.torch_utils.device_funcs import force_gatherable
from espnet2.torch_utils.initialize import initialize
from espnet2.train.class_choices import ClassChoices
from espnet2.utils.types import str2bool, str_or_none
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from speechlm.tasks.common import OwnDataTask, check_keys
from speechlm.tasks.epochs import EpochIterFactory
from speechlm.tasks.lm_batches import SentenceEpochs
from speechlm.tasks.lm_words import PAD, Sentences, WordList

MAX_SCORES = 1 << 25
"""Scores (words x tokens) that the output layer has in memory at once: 128 MiB in float32."""


class WordTransformer(TransformerLM):
    """ESPnet's Transformer language model, whose output layer is applied where it is needed."""

    def hidden(self, ids: Tensor) -> Tensor:
        """(B, L) ids, padded with 0, to (B, L, D): position i has seen ids 0 .. i."""
        return self.encoder(self.embed(ids), self._target_mask(ids))[0]

    def losses(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """(N,) negative log-probabilities of (N,) targets after (N, D) hidden states.

        At most `MAX_SCORES` scores are in memory; with more, the backward pass makes them again.
        """
        rows = max(1, MAX_SCORES // self.decoder.out_features)
        if len(targets) <= rows:
            return self._losses(hidden, targets)
        parts = zip(hidden.split(rows), targets.split(rows), strict=True)
        again = torch.is_grad_enabled()
        return torch.cat(
            [
                checkpoint(self._losses, h, t, use_reentrant=False) if again else self._losses(h, t)
                for h, t in parts
            ]
        )

    def _losses(self, hidden: Tensor, targets: Tensor) -> Tensor:
        scores = self.decoder(hidden).float()  # bfloat16 has 3 digits
        return functional.cross_entropy(scores, targets, reduction="none")


class WordLanguageModel(ESPnetLanguageModel):
    """ESPnet's model with the loss a word, of sentences that begin and end in the last token."""

    lm: WordTransformer
    cpu_bfloat16 = False
    """Whether to train in bfloat16 autocast on a CPU (ESPnet's `use_amp` is CUDA's)."""

    def nll(
        self, text: Tensor, text_lengths: Tensor, max_length: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Negative log-probabilities of the words and the ends of sentences.

        Args:
            text: (B, L) ids, padded with 0.
            text_lengths: (B,) words.
            max_length: L of the result; None: that of the longest sentence.

        Returns:
            (B, L + 1), 0 for padding, and (B,) numbers of those that are none.
        """
        text = text[:, : int(text_lengths.max()) if max_length is None else max_length]
        lengths = text_lengths + 1
        # <s> w1 .. wn -> w1 .. wn </s>; what lies behind is neither seen nor predicted
        inputs = functional.pad(text, (1, 0), value=self.eos)
        targets = functional.pad(text, (0, 1), value=PAD)
        targets = targets.scatter(1, text_lengths[:, None], self.eos)
        real = torch.arange(inputs.shape[1], device=text.device) < lengths[:, None]
        losses = self.lm.losses(self.lm.hidden(inputs)[real], targets[real])
        return losses.new_zeros(real.shape).masked_scatter(real, losses), lengths

    def forward(
        self,
        text: Tensor,
        text_lengths: Tensor,
        unknown_words: Tensor | None = None,
        lines_left_out: Tensor | None = None,
        **_: Any,
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Loss (1,) a word, statistics (1,), and the number (1,) of words and ends.

        Tensors as in `nll`; the counts of words and lines are passed on to the statistics.
        """
        counts = {"unknown_words": unknown_words, "lines_left_out": lines_left_out}
        stats = {name: count.float() for name, count in counts.items() if count is not None}
        if not len(text):  # no line of the batch could be used: nothing to learn
            loss = 0.0 * self.lm.decoder.bias.sum()
            stats["loss"] = torch.full_like(loss.detach(), float("nan"))
            return force_gatherable((loss, stats, torch.ones_like(loss)), loss.device)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.cpu_bfloat16 and text.is_cpu):
            losses, lengths = self.nll(text, text_lengths)
        weight = lengths.sum()
        loss = losses.sum() / weight
        stats["loss"] = loss.detach()
        return force_gatherable((loss, stats, weight), loss.device)


lm_choices = ClassChoices("lm", {"transformer": WordTransformer}, default="transformer")
model_choices = ClassChoices("model", {"lm": WordLanguageModel}, default="lm")


class WordLMTask(OwnDataTask, LMTask):
    """ESPnet's language model task, for words of a lexicon and a text of any size."""

    class_choices_list = [lm_choices, model_choices]
    names = ("text", "text_lengths")
    optional_names = ("unknown_words", "lines_left_out")

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """ESPnet's options of the model, and those of the texts."""
        super().add_task_arguments(parser)
        group = parser.add_argument_group("Texts")
        group.add_argument("--text", nargs="+", help="as in speechlm.bin.train_lm")
        group.add_argument("--dev_text", type=str_or_none, help="as in speechlm.bin.train_lm")
        group.add_argument(
            "--batch_words",
            type=int,
            default=4000,
            help="limit of the padded words of a batch and worker, ends of sentences included",
        )
        group.add_argument(
            "--cpu_bfloat16", type=str2bool, default=False, help="bfloat16 autocast on the CPU"
        )
        cls.add_common_arguments(parser)
        parser.set_defaults(
            iterator_type="task",
            token_type="word",
            optim="adam",
            scheduler="tristagelr",
            best_model_criterion=[("valid", "loss", "min")],
            required=["output_dir", "token_list", "text", "dev_text"],
        )

    @classmethod
    def build_collate_fn(cls, args: argparse.Namespace, train: bool) -> Callable:
        """Not used: data sets give whole batches."""
        return list

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> WordLanguageModel:
        """The network for the words of `token_list`, which stays the name of a file.

        Raises:
            ValueError: an unknown value of `lm_conf`, with the nearest valid one, or sizes that do
                not go together.
        """
        conf = {"pos_enc": "sinusoidal", **args.lm_conf}
        known = inspect.signature(TransformerLM).parameters.keys() - {"vocab_size"}
        check_keys(conf, sorted(known), "lm_conf")
        width, heads = conf.get("att_unit", 256), conf.get("head", 2)
        if width % heads or width % 2:
            raise ValueError(f"lm_conf: att_unit {width} must be a multiple of 2 and head {heads}")
        args.lm_conf = conf
        n_tokens = len(WordList.read(args.token_list).tokens)
        model = WordLanguageModel(WordTransformer(n_tokens, **conf), n_tokens)
        model.cpu_bfloat16 = args.cpu_bfloat16
        if args.init is not None:
            initialize(model, args.init)
        return model

    @classmethod
    def build_task_iter_factory(
        cls, args: argparse.Namespace, iter_options: IteratorOptions, mode: str
    ) -> EpochIterFactory:
        """Batches of this worker, for training or validation."""
        train = mode == "train"
        rank, workers = 0, 1
        if iter_options.distributed:
            rank = torch.distributed.get_rank()
            workers = torch.distributed.get_world_size()
        words = WordList.read(args.token_list)
        epochs = SentenceEpochs(
            Sentences(args.text if train else [args.dev_text], words),
            batch_words=args.batch_words,
            seed=args.seed,
            rank=rank,
            workers=workers,
            steps=iter_options.num_iters_per_epoch,
            train=train,
            report=Path(args.output_dir) / "left_out.valid.tsv" if rank == 0 else None,
        )
        return EpochIterFactory(epochs, args.num_workers, pin_memory=args.ngpu > 0)
