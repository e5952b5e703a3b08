"""The site's configuration of slurm.py, in the syntax of Kaldi's and ESPnet's `conf/slurm.conf`.

    command sbatch --export=PATH        # what submits, with options for all jobs
    option time=* --time $0             # $0: the value that the call gave
    option mem=0                        # this value: nothing
    default gpu=0                       # for calls without --gpu
    option gpu=0 -p cpu
    option gpu=* -p gpu --gres=gpu:$0

The words are read as a shell reads them, quotes and variables of the environment included; but no
shell is started.
"""

import math
import os
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from launch import UNITS, parse_memory

PLACE = Path("conf/slurm.conf")
OWN = ("config", "max_jobs_run", "retry", "restarts")
"""Options of the launcher itself, which no configuration describes."""
RESERVED = ("--array", "-a", "--wait", "-W", "--test-only", "--wrap", "--parsable")
"""Words of sbatch that only the launcher may give: it would not know its jobs any longer."""

DEFAULT = """
command sbatch
option name=* --job-name=$0
option time=* --time=$0
option mem=* --mem=$0
option mem=0
option num_threads=* --cpus-per-task=$0
option num_nodes=* --nodes=$0
default gpu=0
option gpu=0
option gpu=* --gres=gpu:$0
"""


@dataclass
class Configuration:
    """What a configuration says: the command's words, and the words for options and values."""

    source: str
    command: list[str] = field(default_factory=list)
    words: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    defaults: dict[str, str] = field(default_factory=dict)


def _split(text: str, place: str) -> list[str]:
    try:
        # $0 is not the environment's.
        words = [os.path.expandvars(word) for word in shlex.split(text)]
    except ValueError as error:
        raise ValueError(f"{place}: {error}: {text}") from None
    for name in re.findall(r"\$(\w+|\{\w+\})", text):
        if name != "0" and name.strip("{}") not in os.environ:
            raise ValueError(f"{place}: the variable ${name} is not set: {text}")
    return words


def _read_line(line: str, place: str, conf: Configuration) -> None:
    kind, _, rest = line.partition(" ")
    if kind == "command" and rest.strip():
        conf.command = _split(rest, place)
        return
    match = re.fullmatch(r"([\w-]+)=(\S+)\s*(.*)", rest.strip())
    if not match or kind not in ("option", "default"):
        raise ValueError(
            f"{place}: cannot read '{line}': a line is 'command WORDS', 'option NAME=VALUE WORDS' "
            "(* for any value, $0 for it in the words) or 'default NAME=VALUE'"
        )
    name = match[1].replace("-", "_")
    if kind == "default":
        conf.defaults[name] = match[2]
    else:
        conf.words[name, match[2]] = _split(match[3], place)


def read_configuration(given: str | None) -> Configuration:
    """Return the configuration in the file `given`, else in `conf/slurm.conf`, else our own.

    Raises:
        ValueError: The file cannot be read or understood.
    """
    path = Path(given) if given else PLACE
    if given or os.path.lexists(path):
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"--config {path} cannot be read: {error}") from None
    else:
        path, text = Path("the built-in configuration"), DEFAULT
    conf = Configuration(source=str(path))
    for number, line in enumerate(text.splitlines(), start=1):
        line = re.sub(r"(^|\s+)#.*", "", line).strip()
        if line:
            _read_line(line, f"{path}, line {number}", conf)
    if not conf.command:
        raise ValueError(f"{path} has no line 'command sbatch ...'")
    return conf


def sbatch_words(conf: Configuration, options: dict[str, str]) -> list[str]:
    """Return the words that submit a job with these options.

    Raises:
        ValueError: The configuration does not describe an option or a value.
    """
    words = list(conf.command)
    for name, value in {**conf.defaults, **options}.items():
        if name in OWN:
            continue
        if name == "mem":
            value = whole_memory(value)
        exact = conf.words.get((name, value))
        found = exact if exact is not None else conf.words.get((name, "*"))
        if found is None:
            known = sorted({known for known, _ in conf.words} - set(OWN))
            raise ValueError(
                f"{conf.source} does not describe --{name} {value}; it has {', '.join(known)}. "
                f"Add a line such as 'option {name}=* --sbatch-option $0'"
            )
        words += [word.replace("$0", value) for word in found]
    return words


def whole_memory(text: str) -> str:
    """Return an amount of memory as Slurm reads it: 1.5G, which it does not, in whole MiB."""
    if re.fullmatch(r"\d+[KMGT]?", text, re.IGNORECASE):
        return text
    return f"{math.ceil(parse_memory(text) / UNITS['M'])}M"


def check_words(words: list[str], source: str) -> None:
    """Stop where the words have an option that is the launcher's own.

    Raises:
        ValueError: One is there.
    """
    for word in words:
        name = word.partition("=")[0]
        if name in RESERVED or re.fullmatch(r"-a[\d,%:-]+", name):
            raise ValueError(
                f"{name} is for slurm.py to give, not for {source}, cmd.sh or the call: "
                "remove it there (--max_jobs_run N limits the jobs at once)"
            )
