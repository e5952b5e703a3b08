#!/usr/bin/env bash
# Everything on a corpus that the recipe makes itself with espeak-ng, with SpeechLM-Fast.
# Fine-tunes on the small paired set from scratch, after pre-training on speech alone, and after
# SpeechLM pre-training with text: on units of the phone recogniser (speech_text, SpeechLM-P) and on
# hidden units (hidden_text, SpeechLM-H). Decodes each greedily, with an n-gram and with a Transformer of
# words; ends with all error rates, beside those of the phone recogniser (HMM). The last rows of the
# table, of the paper's model, are from a run before (local/kept_results.tsv).
#   ./run.sh --systems "speech speech_text"         some of the systems
#   ./run.sh --config_size tiny --tag paper         the paper's model, small, in this run
#   ./run.sh --text_lines 1000                      less text in pre-training
# ./run.sh --help: options.
set -euo pipefail
CDPATH="" cd "$(dirname "${BASH_SOURCE[0]}")"
exec ../TEMPLATE/speechlm.sh \
  --paired_parts train-paired \
  --speech_parts "train-paired train-unpaired" \
  --dev_parts dev \
  --test_parts test \
  --durations measured \
  --config_size fast_tiny \
  --speeds 1.0 \
  --realign 0 \
  --gmm_args "--monophone 1,1,2,3,4,6 --projected 6,8 --adapted 8,8" \
  --adapt_seconds 20 \
  --phone_model_config ../TEMPLATE/conf/phone_model_tiny.yaml \
  --iterations 1 \
  --clusters 50 \
  --portion 0.5 \
  --text_units_args --bfloat16 \
  --systems "scratch speech speech_text hidden_text" \
  --lm transformer \
  --nbest 50 \
  --kept_results local/kept_results.tsv \
  --nj 2 \
  --num_threads 1 \
  --train_jobs 4 \
  "$@"
