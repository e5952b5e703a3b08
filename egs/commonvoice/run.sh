#!/usr/bin/env bash
# Common Voice in a language of its own (--lang): recognition, from scratch and after SpeechLM
# pre-training with text, on phones of espeak-ng. --corpus names the folder that has one for each
# language; doc/languages.md says what is done with letters and phones.
#   ./run.sh --corpus CV --lang de --text_corpus FILES                a release with train, dev and test
#   ./run.sh --corpus CV --lang de --text_corpus FILES --data_opts "--shares 80,10,10"
#                                                one that has validated.tsv alone, which is cut
# As it stands the recipe is for CPUs and small data. For a whole release: --config_size base --ngpu N
# and the GMM's and the network's own sizes (--gmm_args "" --phone_model_config "").
# ./run.sh --help: options.
set -euo pipefail
CDPATH="" cd "$(dirname "${BASH_SOURCE[0]}")"
exec ../TEMPLATE/speechlm.sh \
  --lang de \
  --paired_parts train.tsv \
  --speech_parts validated.tsv \
  --dev_parts dev.tsv \
  --test_parts test \
  --durations measured \
  --config_size fast_tiny \
  --speeds 1.0 \
  --realign 0 \
  --gmm_args "--monophone 1,1,2,3,4,6 --projected 6,8 --adapted 8,8" \
  --phone_model_config ../TEMPLATE/conf/phone_model_tiny.yaml \
  --systems "scratch speech_text" \
  --min_seconds 0.5 \
  --max_seconds 20 \
  --nj 2 \
  --num_threads 1 \
  "$@"
