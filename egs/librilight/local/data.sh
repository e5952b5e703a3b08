#!/usr/bin/env bash
# Stage 1: as in egs/librispeech, with the speech of Libri-Light (--speech_corpus) for pre-training.
set -euo pipefail
case " $* " in
  *" --speech_corpus"[\ =]* | *" --help "*) ;;
  *)
    if [[ ${LISTING_STEPS:-} != true ]]; then
      echo "error: --speech_corpus, the folder of Libri-Light with its small, medium and large, is needed" >&2
      exit 1
    fi
    set -- "$@" --speech_corpus LIBRILIGHT # a stand-in: steps are listed, and not run
    ;;
esac
exec ../librispeech/local/data.sh "$@"
