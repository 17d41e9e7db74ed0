"""Processes that read the table while it is written, or die at it; the core alone, without nnU-Net."""

import multiprocessing
import os
import signal
import time
from contextlib import nullcontext

import numpy as np

from hws_nnunet import HardnessWeightedSampler, Settings
from hws_nnunet.processes import forks_end_with_this_process
from tests.faults.rows import LONG_AND_SHORT, Counted
from tests.valid import fault_of

FORK = multiprocessing.get_context("fork")
CASES, BATCH, STRUCTURES = 200, 2, ("a", "b", "c")
DRAWS, FIRST, BOUND = 20, 10.0, 1.0  # seconds that the first draw and each other may take
"""Of a table whose writer is dead, and the seconds that one may take, on a machine that has other things to do."""


def sampler_of(*, weighted, n=CASES):
    """Return a sampler with structures; ``weighted``: all cases have been seen."""
    rng = np.random.default_rng(0)
    names = [f"case{i}" for i in range(n)]
    sampler = HardnessWeightedSampler(names, Settings(structure_beta=2.0), structures=STRUCTURES, rng=rng, context=FORK)
    if weighted:
        for _ in range(3):
            sampler.update(range(n), rng.normal(0.5, 0.1, n), structures=rng.random((n, len(STRUCTURES))))
    return sampler


def wrong_in(draws, rng):
    """Draw once in each way; return what is wrong with what came, "" where nothing is."""
    table, n = draws.table, len(draws.table)
    ids = draws.draw_cases(BATCH, rng).ids
    if ids.min() < 0 or ids.max() >= n or len(set(ids.tolist())) < BATCH:
        return f"cases {ids.tolist()} were drawn"
    weights = table.read(lambda: table.weight.copy())
    p = weights / weights.sum()
    if not (np.isfinite(p).all() and p.min() >= 0 and p.max() <= 1):
        return f"probabilities from {p.min()} to {p.max()}"
    p = draws.structure_probabilities(int(ids[0]), [0, 1, 2])
    if not (np.isfinite(p).all() and p.min() >= 0 and abs(p.sum() - 1) < 1e-9):
        return f"structures' probabilities {p}"
    return ""


def _hammer(draws, seconds, answers):
    rng, counted = np.random.default_rng(), Counted()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        counted.add(wrong_in(draws, rng))
    answers.send((counted.tried, counted.survived, counted.first_wrong))


@LONG_AND_SHORT
def test_readers(long, told):
    """Have readers draw as fast as they can while the table is written as fast as can be."""
    seconds, rows = 60.0 if long else 0.5, []
    for weighted in (True, False):
        sampler, rng = sampler_of(weighted=weighted), np.random.default_rng(1)
        here, there = FORK.Pipe(duplex=False)
        readers = [FORK.Process(target=_hammer, args=(sampler.draws, seconds, there)) for _ in range(3)]
        for reader in readers:
            reader.start()
        updates, faults = 0, Counted()
        cases = CASES if weighted else CASES - 1  # in the warm-up pass one case stays unseen
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            losses = rng.normal(0.5, 0.2, BATCH)
            if updates % 50 == 0:
                losses[0] = rng.choice([np.nan, np.inf, 1e30, -1e30, 30.0])
            sampler.update(rng.integers(0, cases, BATCH), losses, structures=rng.random((BATCH, 3)), version=0)
            updates += 1
            if updates % 50 == 1:
                faults.add(fault_of(sampler))
        counted = Counted()
        for _ in readers:
            tried, survived, wrong = here.recv()
            counted.tried, counted.survived = counted.tried + tried, counted.survived + survived
            counted.first_wrong = counted.first_wrong or wrong
        for reader in readers:
            reader.join()
        when = "after the warm-up pass" if weighted else "in the warm-up pass"
        fault = f"{len(readers)} readers draw for {seconds:.0f} s {when}, beside {updates:,} writes"
        rows.append(counted.row(fault, "No draw outside the cases, no case twice in a batch, no invalid probability."))
        rows.append(faults.row(f"the table looked at between those writes, {when}", "It is valid."))
    told(*rows)


def _draw_on(draws, ready):
    rng = np.random.default_rng()
    ready.send("draws")
    while True:
        draws.draw_cases(BATCH, rng)


@LONG_AND_SHORT
def test_workers_die(long, told):
    """Kill a process that draws without a pause at random moments; look at the table, and draw on."""
    rows, rng = [], np.random.default_rng(2)
    for weighted in (True, False):
        counted = Counted()
        for _ in range(100 if long else 3):
            sampler = sampler_of(weighted=weighted, n=40)
            here, there = FORK.Pipe(duplex=False)
            reader = FORK.Process(target=_draw_on, args=(sampler.draws, there))
            reader.start()
            here.recv()
            time.sleep(rng.uniform(0, 0.01))
            os.kill(reader.pid, signal.SIGKILL)
            reader.join()
            counted.add([fault for fault in (fault_of(sampler), _go_on(sampler, rng)) if fault])
        when = "after the warm-up pass" if weighted else "in the warm-up pass"
        outcome = "The table is valid, another process draws on" + (
            "." if weighted else ", and the pass reaches every case, those of lost draws too."
        )
        rows.append(counted.row(f"a process that draws without a pause is killed, {when}", outcome))
    told(*rows)


def _go_on(sampler, rng):
    """Train on in this process; return what is wrong then."""
    for _ in range(200):
        if wrong := wrong_in(sampler.draws, rng):
            return wrong
        drawn = sampler.draw_cases(BATCH, rng)
        sampler.update(drawn.ids, rng.random(BATCH), version=drawn.version)
        if fault := fault_of(sampler):
            return fault
    return "" if sampler.table.weighted else f"{sampler.table.unseen} cases were never drawn"


def _train_and_die(block, pipe):
    """Fork a reader, then die in the middle of a write."""
    sampler, written = sampler_of(weighted=True), FORK.Event()
    reader = FORK.Process(target=_read_after, args=(sampler.draws, os.getpid(), written, pipe))
    with block():
        reader.start()
    pipe.send(reader.pid)
    with sampler.table.writing():
        sampler.table.weight[: CASES // 2] = 0.0  # half of a fill: sums are those of before
        written.set()
        os.kill(os.getpid(), signal.SIGKILL)


def _read_after(draws, parent, written, pipe):
    """Tell how long draws take once the training process is dead: all in all, and of the processor."""
    rng, times = np.random.default_rng(), []
    written.wait()
    while os.getppid() == parent:
        time.sleep(1e-3)
    begin, wrong = time.process_time(), []
    for _ in range(DRAWS):
        start = time.monotonic()
        wrong.append(wrong_in(draws, rng))
        times.append(time.monotonic() - start)
    pipe.send((times, (time.process_time() - begin) / DRAWS, "".join(wrong)))
    time.sleep(600)


@LONG_AND_SHORT
def test_writer_dies(long, told):
    """Have a training process die in the middle of a write, with a reader that it has forked."""
    ends, bounded, processor = Counted(), Counted(), 0.0
    for block in [forks_end_with_this_process, nullcontext] * (20 if long else 1):
        here, there = FORK.Pipe(duplex=False)
        process = FORK.Process(target=_train_and_die, args=(block, there))
        process.start()
        there.close()
        reader = here.recv()
        process.join()
        try:
            times, each, wrong = here.recv() if here.poll(60) else ([60.0], 60.0, "no answer")
        except EOFError:  # nobody has the pipe's other end any more
            ends.add("" if block is forks_end_with_this_process else "it ended")
            continue
        os.kill(reader, signal.SIGKILL)
        if block is forks_end_with_this_process:
            ends.add("its worker lives on")
        else:
            late = times[0] > FIRST or max(times[1:], default=0.0) > BOUND
            bounded.add(wrong or (f"draws took up to {max(times):.2f} s" if late else ""))
            processor = max(processor, each)
    told(
        ends.row("the training process is killed in the middle of a write", "Its workers end with it."),
        bounded.row(
            "the same, and a worker lives on, as where the system knows no such thing",
            f"The first draw waits for the write, {FIRST:g} s at most, the others {BOUND:g} s at most; of the "
            f"processor a draw takes {1000 * processor:.1f} ms.",
        ),
    )
