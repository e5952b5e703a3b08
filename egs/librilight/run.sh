#!/usr/bin/env bash
# SpeechLM Large as in the paper: pre-training on Libri-Light's 60,000 h of speech and LibriSpeech's
# language model text, the phone recogniser on 100 h of LibriSpeech, fine-tuning on its 960 h, of which
# the weights are kept that write dev-other best.
#   ./run.sh --speech_corpus LIBRILIGHT [--corpus LIBRISPEECH] --ngpu 8
# --config_size fast_large takes SpeechLM-Fast of Large's size, which is not the paper's (doc/fast.md).
# LIBRILIGHT has the folders small, medium and large, unpacked from the archives that
# github.com/facebookresearch/libri-light lists (577, 5193 and 51,934 h); --speech_parts small takes the
# first alone. LibriSpeech is downloaded if it is not given. Nothing of Libri-Light is copied: utterances
# are parts of its recordings. local/data.sh --help lists what decides how they are cut; such options
# go into --data_opts: ./run.sh --data_opts "--segment_seconds 20 --max_pause 1". --help: options.
set -euo pipefail
CDPATH="" cd "$(dirname "${BASH_SOURCE[0]}")"
exec ../TEMPLATE/speechlm.sh \
  --paired_parts train-clean-100 \
  --finetune_parts "train-clean-100 train-clean-360 train-other-500" \
  --speech_parts "small medium large" \
  --dev_parts dev-other \
  --test_parts "test-clean test-other" \
  --config_size large \
  --systems speech_text \
  --nj 16 \
  "$@"
