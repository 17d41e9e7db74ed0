"""Runs a host's commands as a person would: shown, its output passed on, and ended with all its workers."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence


class DemoError(RuntimeError):
    """The demonstration cannot start, or one of nnU-Net's commands failed."""


_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
_BAR = re.compile(r"\d+%\|")
_QUIET = re.compile(
    "|".join(
        [
            *map(
                re.escape,
                (
                    "perform_everything_on_device",
                    "Please cite",
                    "If you have questions or suggestions",
                    "Isensee",
                    "nnU-Net: a self",
                    "####",
                    "INFO: You are using the old nnU-Net default",
                    "Nature methods",
                    "This is the configuration",
                    "Configuration name",
                    "These are the global",
                    "plot network architecture",
                    "No module named 'hiddenlayer'",
                    "printing the network instead",
                    "FutureWarning",
                    "UserWarning",
                    "warnings.warn(",
                    "with autocast():",
                    "super().__init__(",
                    "self.amp_grad_scaler = ",
                    "You are attempting to run training on a CPU",
                    "Searching ",
                    "Inspecting module",
                    "before crop: ",
                    "no resampling necessary",
                    "saving: ",
                    "checking case ",
                ),
            ),
            r"^[\d-]{10} [\d:.]{15}: (Generic_UNet\()?$",  # a time without a message; a network follows
            r"^\s*[({)]",  # networks, dictionaries
            r"^ *(after: )? *\d+ \d+$",  # a class and its voxels
            r"^(train\d+)+$",
        ]
    )
)
"""What nnU-Net says at length and a demonstration does without."""


def run(
    command: list[object], env: dict[str, str], *, shown: list[object] | None = None, prefix: Sequence[str] = ()
) -> None:
    """Run a command, shown so that it can be repeated, and pass on what it says.

    It runs in a process group of its own, so that an interrupt here ends its workers too.
    """
    words = [str(part) for part in command]
    print("$ " + " ".join([*prefix, shlex.join([str(part) for part in shown or words])]), flush=True)
    program = shutil.which(words[0], path=env.get("PATH"))
    if program is None:
        raise DemoError(f"{words[0]} was not found: is nnU-Net installed in this environment?")
    process = subprocess.Popen(
        [program, *words[1:]],
        env=env,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    threading.Thread(target=_end_with, args=(process,), daemon=True).start()
    said: list[str] = []
    try:
        for line in process.stdout or ():
            said.append(line)
            _show(line)
        process.wait()
    except BaseException:
        _end(process)
        raise
    if process.returncode:
        raise DemoError(f"{words[0]} ended with {process.returncode}; it said last:\n{''.join(said[-15:])}")


def _show(line: str) -> None:
    """Print a line of a command; a progress bar stays on one line of a terminal, and elsewhere only its end shows."""
    line = line.rstrip("\n")
    if _BAR.search(line):
        if sys.stdout.isatty():
            width = shutil.get_terminal_size().columns - 3
            print("\r  " + line[:width], end="\n" if "100%|" in line else "", flush=True)
        elif "100%|" in line:
            print("  " + line, flush=True)
    elif line.strip() and not _QUIET.search(line):
        print("  " + line, flush=True)


def _end(process: subprocess.Popen[str]) -> None:
    """End a command and its workers."""
    for ending in (signal.SIGTERM, _KILL):
        _signal(process, ending)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            continue


def _end_with(process: subprocess.Popen[str]) -> None:
    """Once a command has ended, end workers that outlive it: they would hold its output open for ever."""
    process.wait()
    time.sleep(5)
    _signal(process, _KILL)


def _signal(process: subprocess.Popen, ending: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # there is nobody left, or only who has ended
        if hasattr(os, "killpg"):
            os.killpg(process.pid, ending)
        else:
            process.send_signal(ending)
