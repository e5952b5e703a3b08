"""How far long work has come: `progress(items, "utterances")` around a loop, and nothing else.

Who shows it depends on where the program runs:

- by hand, on a terminal: one line that moves (`screen`);
- as the command of a recipe's step: small records in a folder (`records`), which `tools/step.py`
  draws, one line a step, also of jobs that run on other machines;
- where stderr is a file: plain lines, at growing intervals.

Loops within a loop that is shown are not: the outer one knows how much is left. Standard library
only, as steps are run without the package's other requirements.
"""

from __future__ import annotations

from speechlm.progress.loop import Progress, progress, show_progress

__all__ = ["Progress", "progress", "show_progress"]
