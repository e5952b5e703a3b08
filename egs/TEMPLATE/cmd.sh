#!/usr/bin/env bash
# What starts jobs: anything with the contract of Kaldi's run.pl may stand here,
#   COMMAND [--gpu N --mem 4G --num_threads N] [JOB=1:N] LOG COMMAND...
# local.py uses this machine, slurm.py a Slurm cluster (conf/slurm.conf says what options mean there).
# Options go into the same string; values with blanks in quotes: "slurm.py --config 'my conf/slurm.conf'".
# A recipe's own cmd.sh goes before this one.
export train_cmd="local.py"  # alignment, feature and other CPU jobs
export cuda_cmd="local.py"   # training
export decode_cmd="local.py" # decoding
