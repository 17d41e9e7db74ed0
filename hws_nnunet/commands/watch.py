"""The command ``hws-nnunet watch``: a live view of the record's files alone, so that it may run on another machine."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hws_nnunet.commands.options import AsJson, Fold, print_json
from hws_nnunet.messages import some_of
from hws_nnunet.record.cases import with_numbers
from hws_nnunet.record.measures import measures_beside
from hws_nnunet.record.snapshot import HISTORY_FILE, Snapshot, read_record

_BLOCKS, _PLAIN = "▁▂▃▄▅▆▇█", "_.,-=+*#"  # the latter where the terminal knows ASCII alone
_LINES = 14  # that are not cases
_WIDE = 100  # columns from which on there is room for more of everything
_LATE = 5  # times an epoch, after which the record's silence is told


def watch(
    fold: Fold,
    top: Annotated[int, typer.Option("--top", min=1, help="How many of the hardest cases, at most.")] = 20,
    every: Annotated[float, typer.Option("--every", min=0.1, help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print one view and end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Watch a training in the terminal: time left, effective sample size, beta, and the hardest cases over the epochs.

    Reads the record's files alone. Ctrl-C ends it, and nothing else. Where the output is not a terminal, or the
    training is over, it prints one view and ends.

    --json prints one, too: epochs 'done' and 'planned' (0: unknown), 'over', 'seconds' an epoch, 'written' (since
    1970), 'now', the last row of hardness_epochs.csv, 'cases', how many there are, and 'hardest', a list of these.

    \b
    Example:
      hws-nnunet watch $nnUNet_results/Dataset501_FetalBrain/HardnessWeightedTrainer__.../fold_0
    """
    if as_json:
        print_json(figures(_begun(fold, read_record(fold)), top=top))
    else:
        watch_fold(fold, top=top, every=every, once=once)


def figures(record: Snapshot, *, top: int) -> dict[str, object]:
    """Return what a script can use of a record, as ``--json`` prints it; NaN where something is unknown.

    Args:
        record: as it stands.
        top: how many cases.
    """
    hardest = [
        {
            **with_numbers(row),
            "hardest_structure": record.structures.get(row["case"]),
            "history": list(record.history.get(row["case"], ())),
        }
        for row in record.cases[:top]
    ]
    about = {name: getattr(record, name) for name in ("done", "planned", "over", "seconds", "written")}
    return {**about, "now": dict(record.epochs[-1]), "cases": len(record.cases), "hardest": hardest}


def watch_fold(fold: Path, *, top: int, every: float, once: bool, console: Console | None = None) -> None:
    """Show a fold's record, anew as it is rewritten, until the training is over or an interrupt.

    Args:
        fold: the folder.
        top: how many cases; fewer where the terminal is low.
        every: seconds between two looks.
        once: show it once; so it is where the output is not a terminal, too.
        console: to print to, the standard output where None.

    Raises:
        FileNotFoundError: no training of ours has begun in the folder.
        ValueError: a file of the record is not what it should be.
    """
    console = Console() if console is None else console
    snapshot = read_record(fold)
    if once or not console.is_terminal or (snapshot is not None and snapshot.over):
        console.print(view(fold, _begun(fold, snapshot), console, top=top))
        return
    try:
        with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
            while True:
                shown = _waiting(fold) if snapshot is None else view(fold, snapshot, console, top=top, fits=True)
                live.update(shown, refresh=True)
                if snapshot is not None and snapshot.over:
                    return
                time.sleep(every)
                snapshot = read_record(fold)
    except KeyboardInterrupt:
        return  # the last view stays


def _begun(fold: Path, record: Snapshot | None) -> Snapshot:
    if record is None:
        raise FileNotFoundError(f"no epoch has ended in {fold} yet: the record appears with the first one's end")
    return record


def view(fold: Path, snapshot: Snapshot, console: Console, *, top: int, fits: bool = False) -> Group:
    """Return a record as the terminal's width allows, and, if it has to fit, its height."""
    blocks = _BLOCKS if console.encoding.startswith("utf") else _PLAIN
    room = max(3, console.height - _LINES - len(_stalled(snapshot))) if fits else top
    parts: list[RenderableType] = [
        _title(fold),
        _progress(snapshot),
        Text(),
        _figures(snapshot, console, blocks),
        Text(),
    ]
    parts.append(_hardest(snapshot, console, blocks, min(top, room)))
    if not snapshot.history:
        parts.append(Text(f"no {HISTORY_FILE}: a record of an earlier version", style="dim"))
    return Group(*parts, *_stalled(snapshot))


def sparkline(values: Sequence[float], low: float, high: float, *, width: int, blocks: str = _BLOCKS) -> str:
    """Return values as a line of blocks.

    Args:
        values: NaN where unknown, which is left empty.
        low: the value of the lowest block.
        high: and of the highest.
        width: at most so many; of more values, evenly spaced ones are shown, with the first and the last.
        blocks: lowest first.
    """
    if len(values) > width:
        values = [values[round(i * (len(values) - 1) / (width - 1))] for i in range(width)]
    scale = (len(blocks) - 1) / (high - low) if high > low else 0.0
    return "".join(" " if math.isnan(v) else blocks[round((v - low) * scale)] for v in values)


def duration(seconds: float) -> str:
    """Return a time for people, in its two largest units."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    hours, days = minutes // 60, minutes // 1440
    if hours < 1:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if days < 2 else f"{days} d {hours % 24} h"


def _title(fold: Path) -> Text:
    parts = fold.resolve().parts
    return Text(" / ".join(parts[-3:]), style="bold", overflow="ellipsis", no_wrap=True)


def _waiting(fold: Path) -> Group:
    return Group(_title(fold), Text("A training has begun; the record appears with its first epoch's end."))


def _progress(snapshot: Snapshot) -> Table:
    silent = max(0.0, time.time() - snapshot.written)
    told = []
    if not math.isnan(snapshot.seconds):
        told.append(f"{duration(snapshot.seconds)} an epoch")
        if snapshot.planned and not snapshot.over:
            told.append(f"{duration(max(0.0, (snapshot.planned - snapshot.done) * snapshot.seconds - silent))} left")
    line = Text(", ".join(told))
    if snapshot.over:
        line = Text("all epochs have ended", style="green")
    elif silent > max(60.0, _LATE * (0 if math.isnan(snapshot.seconds) else snapshot.seconds)):
        line = Text(f"no news for {duration(silent)}: has it ended?", style="yellow")
    grid = Table.grid(padding=(0, 2))
    head = f"Epoch {snapshot.done}" + (f" of {snapshot.planned}" if snapshot.planned else "")
    bar = [ProgressBar(total=snapshot.planned, completed=snapshot.done, width=20)] if snapshot.planned else []
    grid.add_row(Text(head, style="bold"), *bar, line)
    return grid


def _figures(snapshot: Snapshot, console: Console, blocks: str) -> Table:
    now, width = snapshot.epochs[-1], 40 if console.width >= _WIDE else 20
    cases, weighted = now.get("cases", math.nan), bool(now.get("weighted", 0))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(no_wrap=True, justify="right")
    grid.add_column(no_wrap=True, width=min(width, len(snapshot.epochs)))
    grid.add_column(no_wrap=True, overflow="ellipsis", style="dim")

    def add(name: str, key: str, text: str, meaning: str, low: float = 0.0, high: float | None = None) -> None:
        values = [row.get(key, math.nan) for row in snapshot.epochs]
        finite = [value for value in values if not math.isnan(value)]
        top = max(finite, default=1.0) if high is None else high
        grid.add_row(name, text, sparkline(values, min([low, *finite]), top, width=width, blocks=blocks), meaning)

    bound = f", at least {now[least]:.1f}" if (least := "smallest_effective_sample_size") in now else ""
    drawn = f"of {cases:.0f} cases{bound}" if weighted else "draws are not weighted (warm-up pass, or beta 0)"
    add("ESS", "effective_sample_size", f"{now.get('effective_sample_size', math.nan):.1f}", drawn, high=cases)
    limit = f"limit {now['beta_limit']:g}" if "beta_limit" in now else ""
    add("beta", "beta_in_force", f"{now.get('beta_in_force', 0.0):.3g}", limit)
    if "reliability" in now:
        add("reliability", "reliability", f"{now['reliability']:.2f}", "share of differences that is real", high=1.0)
    if "mean" in now:
        spread = f"{now['smallest']:.3f} to {now['largest']:.3f}, {now['seen']:.0f} of {cases:.0f} cases seen"
        add("hardness", "mean", f"{now['mean']:.3f}", spread, low=math.inf)
    if "median_lag" in now:
        add("lag", "median_lag", f"{now['median_lag']:.0f}", f"steps, at most {now['largest_lag']:.0f}")
    return grid


def _hardest(snapshot: Snapshot, console: Console, blocks: str, top: int) -> Table:
    wide, rows = console.width >= _WIDE, snapshot.cases[:top]
    width, measures = 40 if wide else 16, measures_beside(snapshot.cases) if wide else []
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    table.add_column("hardest cases", no_wrap=True, overflow="ellipsis", max_width=40 if wide else 20)
    for name in ("hardness", *measures):
        table.add_column(name, justify="right", no_wrap=True)
    losses = [value for row in rows for value in snapshot.history.get(row["case"], ()) if not math.isnan(value)]
    longest = max((len(values) for values in snapshot.history.values()), default=0)
    if longest:
        table.add_column("history", no_wrap=True, min_width=min(width, longest))
    table.add_column("chance", justify="right", no_wrap=True)
    table.add_column("visits", justify="right", no_wrap=True)
    if any(snapshot.structures.values()):
        table.add_column("structure", no_wrap=True, overflow="ellipsis")
    low, high = min(losses, default=0.0), max(losses, default=1.0)
    for row in rows:
        cells = [row["case"], *(f"{float(row[n]):.4f}" if row[n] else "-" for n in ("hardness", *measures))]
        if longest:
            cells.append(sparkline(snapshot.history.get(row["case"], ()), low, high, width=width, blocks=blocks))
        cells += [f"{float(row['probability']) * len(snapshot.cases):.1f}x", row["visits"]]
        if any(snapshot.structures.values()):
            cells.append(snapshot.structures.get(row["case"], ""))
        table.add_row(*map(Text, cells), style="yellow" if _is_stalled(row) else "")
    return table


def _stalled(snapshot: Snapshot) -> list[Text]:
    names = [row["case"] for row in snapshot.cases if _is_stalled(row)]
    if not names:
        return []
    text = f"Stalled: {some_of(names)}: no easier for being drawn. Are the labels right? hws-nnunet gallery shows them"
    return [Text(), Text(text, style="yellow")]


def _is_stalled(row: Mapping[str, str]) -> bool:
    return row.get("stalled") == "1"
