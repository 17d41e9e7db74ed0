"""The script of the README's two commands."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
def test_an_interrupt_lets_the_command_tidy_up():
    command = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "try:\n    print('ready', flush=True)\n    time.sleep(60)\n"
        "except KeyboardInterrupt:\n    time.sleep(1)\n    print('tidied', flush=True)\n    sys.exit(130)"
    )
    code = (
        "import signal, subprocess, sys, run\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"sys.exit(run.wait_for(subprocess.Popen([sys.executable, '-c', {command!r}])))"
    )
    env = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env, start_new_session=True
    )
    try:
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.communicate(timeout=30)[0] == "tidied\n"
        assert process.returncode == 130
    finally:
        process.kill()
