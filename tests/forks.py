"""Start commands in forks of one process that has imported what they import, which takes each of them seconds.

This is for what commands do. Where the process itself is tested (it is killed, it is signalled, it imports) a real one
has to be started, and each of nnU-Net's commands is a real one in some test of its own.

    python forks.py     # reads what to start, a line of JSON each; answers each with the exit code
"""

import contextlib
import gc
import importlib
import importlib.metadata
import json
import multiprocessing
import os
import pkgutil
import runpy
import select
import signal
import subprocess
import sys
import tempfile

FRESH = {"hws_nnunet", "nnunet", "nnunetv2", "tests"}  # nnU-Net reads its folders when it is imported
IMPORTED = (
    "hws_nnunet.commands.main",
    "hws_nnunet.nnunetv1.trainer",
    "hws_nnunet.nnunetv2.trainer",
    "nnunet.inference.predict_simple",
    "nnunet.run.run_training",
    "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints",
    "nnunetv2.inference.predict_from_raw_data",
    "nnunetv2.run.run_training",
    "torch.distributed.run",
)
FORK = multiprocessing.get_context("fork")
_server = None


def forkable(command):
    """Return whether a command, a list of strings, is a Python script, or one that an installed package has."""
    return command[0] == sys.executable or bool(_scripts(command[0]))


def run(command, env=None, *, timeout=900, merged=True):
    """Run a command as subprocess.run does; return its exit code, and what it wrote, to one stream or to two."""
    command = [str(part) for part in command]
    with contextlib.ExitStack() as files:
        out, err = (files.enter_context(tempfile.NamedTemporaryFile("r", errors="replace")) for _ in range(2))
        names = (out.name, out.name if merged else err.name)
        code = _ask(command, dict(os.environ if env is None else env), *names, timeout)
        return subprocess.CompletedProcess(command, code, out.read(), None if merged else err.read())


def _ask(command, env, out, err, timeout):
    global _server
    if _server is None or _server.poll() is not None:
        _server = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    print(json.dumps([command, env, out, err, os.getcwd(), timeout]), file=_server.stdin, flush=True)
    ready, *_ = select.select([_server.stdout], [], [], timeout + 300)
    if not ready:
        _server.kill()
        raise TimeoutError(f"no answer from the process that forks: {command}")
    return int(_server.stdout.readline())


def _scripts(name):
    return importlib.metadata.entry_points(group="console_scripts", name=os.path.basename(name))


def _serve():
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    base = [folder for folder in sys.path[1:] if folder not in given]
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in IMPORTED:
        with contextlib.suppress(ImportError, RuntimeError):  # which is ours where a nnU-Net is missing; one will do
            importlib.import_module(name)
    with contextlib.suppress(ImportError):  # looking for a trainer, nnU-Net imports them all
        trainers = importlib.import_module("nnunetv2.training.nnUNetTrainer")
        for found in pkgutil.walk_packages(trainers.__path__, f"{trainers.__name__}."):
            with contextlib.suppress(Exception):
                importlib.import_module(found.name)
    import torch

    torch.set_num_threads(1)
    torch.set_num_threads = lambda number: None  # nnU-Net asks for all cores, and other tests run beside it
    multiprocessing.get_context = lambda method=None: FORK  # spawned, workers would import all again
    gc.collect()
    gc.freeze()  # forks need not look through what they share
    for line in requests:
        command, env, out, err, cwd, timeout = json.loads(line)
        with open(out, "ab") as out, open(err, "ab") as err:
            code = _fork(command, env, out.fileno(), err.fileno(), base, cwd, timeout)
        print(code, file=answers, flush=True)


def _fork(*how):
    process = FORK.Process(target=_become, args=how)
    process.start()
    process.join()
    return process.exitcode


def _become(command, env, out, err, base, cwd, timeout):
    """Make of this process, which was forked, one that runs a command."""
    signal.alarm(timeout)
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    for name in [name for name in sys.modules if name.split(".")[0] in FRESH]:
        del sys.modules[name]
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    subprocess.run = _runs_forks(base, subprocess.run)
    sys.path[:] = [folder for folder in env.get("PYTHONPATH", "").split(os.pathsep) if folder] + base
    try:
        _call(command)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _call(command):
    program, *rest = command
    if program != sys.executable:
        (script,) = {script.value: script for script in _scripts(program)}.values()
        sys.argv = command
        sys.exit(script.load()())
    if rest[0] == "-m":
        sys.argv = rest[1:]
        sys.path.insert(0, os.getcwd())
        runpy.run_module(rest[1], run_name="__main__", alter_sys=True)
    elif rest[0] == "-c":
        sys.argv = ["-c", *rest[2:]]
        sys.path.insert(0, "")
        exec(compile(rest[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = rest
        sys.path.insert(0, os.path.dirname(os.path.abspath(rest[0])))
        runpy.run_path(rest[0], run_name="__main__")


def _runs_forks(base, real):
    """Return subprocess.run, which forks the commands that a command starts, too."""

    def run_forked(command, **options):
        if not forkable(command) or not set(options) <= {"env", "stdout", "stderr", "check"}:
            return real(command, **options)
        check, env = options.pop("check", False), options.pop("env", None) or dict(os.environ)
        with open(os.devnull, "w") as nothing:
            ends = {None: None, subprocess.DEVNULL: nothing}
            out, err = (ends.get(end, end) for end in (options.get("stdout"), options.get("stderr")))
            out, err = (number if end is None else end.fileno() for end, number in ((out, 1), (err, 2)))
            code = _fork([str(part) for part in command], env, out, err, base, os.getcwd(), 0)
        if check and code:
            raise subprocess.CalledProcessError(code, command)
        return subprocess.CompletedProcess(command, code)

    return run_forked


if __name__ == "__main__":
    _serve()
