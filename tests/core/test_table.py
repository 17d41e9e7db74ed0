import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

from hws_nnunet import Settings
from hws_nnunet.core import Draws, HardnessTable, sequence_lock

METHODS = [m for m in ("fork", "forkserver", "spawn") if m in multiprocessing.get_all_start_methods()]


def _child(table, answers):
    """Report what is seen, mark a draw, then wait for a change of the training process's."""
    answers.put((table.names, float(table.hardness[2]), table.version))
    table.words["stamp"][1] += 5
    for _ in range(1000):
        if table.version == 7:
            break
        time.sleep(0.01)
    answers.put((float(table.hardness[2]), table.version))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_is_shared_with_children(method):
    context = multiprocessing.get_context(method)
    table = HardnessTable(["a", "b", "c"], context=context)
    table.offset[2] = 0.25
    answers = context.Queue()
    child = context.Process(target=_child, args=(table, answers), daemon=True)
    child.start()
    assert answers.get(timeout=60) == (("a", "b", "c"), 0.25, 0)
    with table.writing():
        table.offset[2] = 0.75
        table.version = 7
    assert answers.get(timeout=60) == (0.75, 7)
    child.join(60)
    assert child.exitcode == 0
    assert table.stamp.tolist() == [0, 5, 0]


def _hold(table, ready):
    ready.set()
    time.sleep(600)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="no /dev/shm on this system")
def test_leaves_nothing_behind_when_killed():
    context = multiprocessing.get_context("spawn")

    def listing():
        return {name for name in os.listdir("/dev/shm") if name.startswith(("pym", "psm", "torch"))}

    before = listing()
    table = HardnessTable([str(i) for i in range(10_000)], context=context)
    assert listing() == before, "the block must not have a name while it is in use"
    ready = context.Event()
    child = context.Process(target=_hold, args=(table, ready), daemon=True)
    child.start()
    assert ready.wait(60)
    os.kill(child.pid, signal.SIGKILL)
    child.join(60)
    assert listing() == before


def _write_on(table, stop):
    rng = np.random.default_rng()
    while not stop.is_set():
        value = rng.random()
        with table.writing():
            table.offset[:] = value
            table.weigh(np.full(len(table), value))
        time.sleep(1e-4)


def test_readers_never_see_half_a_write():
    context = multiprocessing.get_context("fork" if "fork" in METHODS else "spawn")
    table = HardnessTable([str(i) for i in range(2000)], context=context)
    with table.writing():
        table.offset[:] = 0.5
        table.weigh(np.full(2000, 0.5))
    stop = context.Event()
    writer = context.Process(target=_write_on, args=(table, stop), daemon=True)
    writer.start()
    try:
        torn, changes, last = 0, 0, None
        end = time.monotonic() + 3
        while time.monotonic() < end:
            values, weights = table.read(lambda: (table.hardness, table.weight.copy()))
            torn += int(values.min() != values.max() or weights.min() != weights.max() or values[0] != weights[0])
            changes += int(values[0] != last)
            last = values[0]
    finally:
        stop.set()
        writer.join(60)
    assert torn == 0
    assert changes > 10, "the writer never wrote while it was read"


def _write_slowly(table, half_written):
    with table.writing():
        table.offset[: len(table) // 2] = 1.0
        half_written.set()
        time.sleep(0.3)
        table.offset[len(table) // 2 :] = 1.0


def test_a_reader_waits_for_a_writer_that_is_held_up():
    context = multiprocessing.get_context("fork" if "fork" in METHODS else "spawn")
    table, half_written = HardnessTable(["a", "b"], context=context), context.Event()
    writer = context.Process(target=_write_slowly, args=(table, half_written), daemon=True)
    writer.start()
    assert half_written.wait(60)
    assert table.read(table.offset.tolist) == [1.0, 1.0]
    writer.join(60)


def test_a_reader_goes_on_after_a_writer_that_died(monkeypatch):
    pauses = []
    monkeypatch.setattr(sequence_lock, "_PATIENCE", 0.01)
    monkeypatch.setattr(sequence_lock.time, "sleep", pauses.append)
    table = HardnessTable(["a", "b"])
    table.lock = 1  # as a process leaves it that is killed in a write
    computed = []
    table.read(lambda: computed.append(1))
    waited = len(pauses)
    table.read(lambda: computed.append(2))
    assert computed == [1, 2]
    assert waited
    assert len(pauses) == waited, "a reader waits once for a writer that died, not at each draw"


def test_a_faulty_table_is_told():
    table = HardnessTable(["a", "b"])
    assert table.check_valid() == ""
    table.offset[0] = 1.0
    assert table.check_valid() == "a case without a visit has a loss"
    table.offset[0] = np.inf
    assert table.check_valid() == "an infinite or a negative value entered the column offset"
    table.offset[0] = np.nan
    table.visits[0] = 1
    assert table.check_valid().startswith("unseen is 2")
    table.visits[0] = 0
    table.order[:] = 0
    assert table.check_valid() == "the sweep's order is not a permutation"
    table.order[:] = [1, 0]
    table.weight[0] = 0.5
    assert table.check_valid() == "the total of the draw weights is 2.0, they sum to 1.5"
    table.weight[0] = 5.0
    assert table.check_valid() == "draw weights lie from 1.0 to 5.0, expected 0 to 1.0"
    table.weigh(np.array([np.nan, 1.0]))
    assert table.check_valid() == "the word total is nan"
    table.total = 1.0
    assert table.check_valid() == "the word largest is nan"
    table.largest = 1.0
    assert table.check_valid().startswith("draw weights lie from nan")
    table.losses = -1
    assert table.check_valid() == "the word losses is -1"


def test_bad_input():
    with pytest.raises(ValueError, match="at least one case, given: none"):
        HardnessTable([])
    with pytest.raises(ValueError, match="given more than once: a"):
        HardnessTable(["a", "b", "a"])
    with pytest.raises(ValueError, match="structure names have to be unique; given more than once: x"):
        HardnessTable(["a"], structures=["x", "x"])


def test_a_writer_that_was_killed_in_a_write_stops_nobody():
    table = HardnessTable(["a", "b"])
    table.writing().__enter__()
    assert table.read(lambda: table.total) == 2.0
    assert table.check_valid() == "a write is under way or was cut off"


def test_a_write_within_a_write_is_refused():
    table = HardnessTable(["a", "b"])
    with table.writing(), pytest.raises(RuntimeError, match="one write at a time"), table.writing():
        pass
    assert table.read(lambda: 1) == 1
    assert table.check_valid() == ""


def test_the_sweep_moves_on_by_a_batch_however_often_a_read_is_repeated():
    table = HardnessTable([str(i) for i in range(10)])
    draws, calls = Draws(table, Settings()), []
    original = draws._draw_batch

    def interrupted(*args):
        calls.append(args)
        if len(calls) < 4:
            with table.writing():
                pass
        return original(*args)

    draws._draw_batch = interrupted
    assert draws.draw_cases(2, np.random.default_rng(0)).ids.tolist() == [0, 1]
    assert len(calls) == 4
    assert table.position == 2
