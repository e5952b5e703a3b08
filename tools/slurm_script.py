"""The script of a job under Slurm: what bash runs on the node."""

import os
import shlex
from pathlib import Path

from launch import Call
from process import SAVED
from slurm_queue import environment

EXPORTED = ("PATH", "PYTHONPATH", "LC_ALL", "PYTHONUNBUFFERED", "HOME", "SLURM_CONF")
"""Variables that jobs get as they are here, whatever of the environment Slurm carries over."""
EXPORTED_BEGINNING = "SPEECHLM_"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
CANNOT_BEGIN = 125
"""Exit code of a job that came to no log; bash's message is in the file `.out` beside the codes."""

NOTICE_S = 120
"""Seconds before the end of a job's time, in which trainings save their states."""
RESTARTS = 100
"""How often a job that was told of its end, and has saved its state, may be started again."""
LISTEN_S = 30
"""Seconds that a command which has just been begun has to get ready for a signal."""

# `number` is the job's, `task` Slurm's id of it. TERM reaches all processes of a job, so that it is
# not handed on: the shell only lives on to write the code. USR1 with --signal=B:USR1@SECONDS
# reaches the shell alone, which hands it on to commands that have a handler (bit 9 of the mask);
# others run until their time is over. A `wait` that a signal ends is repeated.
# A job that was cancelled has ended by TERM and must not come back: USR1 alone lets it.
TEMPLATE = """#!/bin/bash
# A job of slurm.py: runs the command, writes its log and last of all its exit code.
number={number}
state={state}
told=false
trap 'told=true' USR1
task=${{SLURM_ARRAY_JOB_ID:-${{SLURM_JOB_ID}}}}${{SLURM_ARRAY_TASK_ID:+_${{SLURM_ARRAY_TASK_ID}}}}
exec < /dev/null > "${{state}}/${{number}}.out" 2>&1 || exit {cannot_begin}
cd -- {folder} || exit {cannot_begin}
{exports}
threads=${{SLURM_CPUS_PER_TASK:-{threads}}}
export {thread_exports}
log={log}
rm -f -- "${{state}}/${{number}}.code"
if [[ {attempt} == 1 && ${{SLURM_RESTART_COUNT:-0}} == 0 ]]; then
  : > "${{log}}" || exit {cannot_begin}
fi
exec >> "${{log}}" 2>&1 || exit {cannot_begin}
printf '# %s\\n' {header}
printf '# Started at %(%Y-%m-%d %H:%M:%S)T on %s, %s threads%s, job %s\\n#\\n' -1 "${{HOSTNAME}}" \\
  "${{threads}}" "${{CUDA_VISIBLE_DEVICES:+, GPU ${{CUDA_VISIBLE_DEVICES}}}}" "${{task}}"
SECONDS=0
trap : TERM INT
{command} &
child=$!
hand_on() {{
  local key mask n
  told=true
  for ((n = 0; n < {listen_s}; n++)); do
    while read -r key mask; do
      if [[ ${{key}} == SigCgt: ]] && ((16#${{mask: -8}} & 512)); then
        kill -USR1 "${{child}}"
        return
      fi
    done < "/proc/${{child}}/status" || return
    sleep 1
  done
}}
trap hand_on USR1
while :; do
  wait "${{child}}"
  code=$?
  kill -0 "${{child}}" 2> /dev/null || break
done
# Where it has ended during a trap that was the signal's; now its own is told, or was told (-1).
wait "${{child}}"
last=$?
if ((last >= 0 && last != 127)); then code=${{last}}; fi
printf '#\\n# Ended (code %s) at %(%Y-%m-%d %H:%M:%S)T, elapsed time %s seconds\\n' \\
  "${{code}}" -1 "${{SECONDS}}"
if [[ ${{code}} == {saved} ]] && ${{told}}; then
  if ((${{SLURM_RESTART_COUNT:-0}} >= {restarts})); then
    echo "# Its state is saved; started again ${{SLURM_RESTART_COUNT:-0}} times (--restarts)"
  elif scontrol requeue "${{task}}"; then
    echo "# Its state is saved; Slurm starts it again"
    exit "${{code}}"
  fi
fi
echo "${{code}}" > "${{state}}/${{number}}.new" &&
  mv -f -- "${{state}}/${{number}}.new" "${{state}}/${{number}}.code"
exit "${{code}}"
"""


def shell_text(text: str, variable: str) -> str:
    """Return a text as one word of bash, in which the variable becomes the job's number."""
    if not variable:
        return shlex.quote(text)
    pieces = [shlex.quote(piece) if piece else "" for piece in text.split(variable)]
    return '"${number}"'.join(pieces) or "''"


def job_script(call: Call, number: str, attempt: int, state: Path) -> str:
    """Return the script of the jobs of a submission.

    Args:
        call: The launcher's call.
        number: What is the job's number in bash.
        attempt: From the second one on, logs are continued.
        state: The folder in which jobs leave their exit codes.
    """
    known = environment()
    names = [name for name in known if name.startswith(EXPORTED_BEGINNING) or name in EXPORTED]
    return TEMPLATE.format(
        number=number,
        state=shlex.quote(str(state)),
        folder=shlex.quote(os.getcwd()),
        cannot_begin=CANNOT_BEGIN,
        saved=SAVED,
        listen_s=LISTEN_S,
        restarts=RESTARTS if (given := call.number("restarts")) is None else given,
        exports="\n".join(f"export {name}={shlex.quote(known[name])}" for name in names),
        threads=call.number("num_threads") or 1,
        thread_exports=" ".join(f'{name}="${{threads}}"' for name in THREADS),
        log=shell_text(call.log, call.variable),
        attempt=attempt,
        header=shell_text(shlex.join(call.command), call.variable),
        # '' before it: a first word such as A=1 or `if` is the name of a program here.
        command="''" + " ".join(shell_text(word, call.variable) for word in call.command),
    )
