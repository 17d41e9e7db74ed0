import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time

import pytest

from hws_nnunet import processes
from hws_nnunet.processes import forks_end_with_this_process, on_all_cores

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes end with the one that forked them on Linux")
FORK = multiprocessing.get_context("fork")


def trainer(alive, block):
    """Fork a worker, and die."""
    worker = FORK.Process(target=time.sleep, args=(600,))
    with block():
        worker.start()
    alive.send(worker.pid)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(("block", "ends"), [(forks_end_with_this_process, True), (contextlib.nullcontext, False)])
def test_a_killed_process_takes_its_workers_along(block, ends):
    here, there = FORK.Pipe(duplex=False)
    process = FORK.Process(target=trainer, args=(there, block))
    process.start()
    there.close()
    worker = here.recv()
    process.join()  # with a time limit it would wait for the worker, too
    try:
        assert process.exitcode == -signal.SIGKILL
        assert here.poll(30 if ends else 0.3) == ends, "the pipe ends with the worker"
    finally:
        if not ends:
            os.kill(worker, signal.SIGKILL)


def grandparent(alive):
    with forks_end_with_this_process():
        parent = FORK.Process(target=trainer_of_plain_forks, args=(alive,))
        parent.start()
    parent.join()


def trainer_of_plain_forks(alive):
    child = FORK.Process(target=alive.send, args=("lives",))
    child.start()
    child.join()


def test_workers_of_workers_are_left_alone():
    here, there = FORK.Pipe(duplex=False)
    process = FORK.Process(target=grandparent, args=(there,))
    process.start()
    assert here.poll(30)
    assert here.recv() == "lives"
    process.join(60)


def test_other_threads_forks_are_left_alone():
    """Where such a thread ends, the system would take it for the end of the process."""
    here, there = FORK.Pipe(duplex=False)

    def fork():
        child = FORK.Process(target=lambda: (time.sleep(0.3), there.send("lives")))
        child.start()
        children.append(child)

    children = []
    with forks_end_with_this_process():
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()
    assert here.poll(30)
    children[0].join(60)
    assert children[0].exitcode == 0


def ratio(one, other):
    return one / other, os.getpid()


def test_work_on_all_cores(monkeypatch, capsys):
    monkeypatch.setattr(processes, "_METHOD", "fork")  # a new interpreter takes seconds
    monkeypatch.setattr(processes, "_cores", lambda: 3)
    found = on_all_cores(ratio, range(20), [2] * 20, desc="working", progress=True)
    assert [value for value, _ in found] == [number / 2 for number in range(20)]
    assert os.getpid() not in {process for _, process in found}
    assert "working: 100%" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        on_all_cores(ratio, range(20), [2, 0] * 10, desc="working")
    few = on_all_cores(ratio, range(3), [2] * 3, desc="working")
    assert few == [(number / 2, os.getpid()) for number in range(3)]
    assert multiprocessing.active_children() == []
