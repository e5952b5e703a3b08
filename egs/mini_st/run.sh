#!/usr/bin/env bash
# Translation on a corpus that the recipe makes itself: espeak-ng reads a small made-up English
# grammar, whose German has another word order. Translates from scratch and after SpeechLM
# pre-training, with SpeechLM-Fast (--config_size tiny: the paper's model, small); ends with BLEU of the
# two on sentences that no part of the training has.
# ./run.sh --help: options.
set -euo pipefail
CDPATH="" cd "$(dirname "${BASH_SOURCE[0]}")"
exec ../TEMPLATE/speechlm.sh \
  --task st \
  --source_lang en \
  --target_lang de \
  --test_parts test \
  --durations measured \
  --config_size fast_tiny \
  --speeds 1.0 \
  --realign 0 \
  --gmm_args "--monophone 1,1,2,3 --projected 4,6 --adapted 6" \
  --adapt_seconds 20 \
  --phone_model_config ../TEMPLATE/conf/phone_model_tiny.yaml \
  --phone_model_args "--max_epoch 4" \
  --pretrain_args "--max_epoch 4 --num_iters_per_epoch 200" \
  --systems "scratch speech_text" \
  --nj 2 \
  --num_threads 2 \
  "$@"
