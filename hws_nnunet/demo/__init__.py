"""The demonstration: a phantom, nnU-Net's own commands, a table and figures."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from hws_nnunet import registration
from hws_nnunet.datasets import make_phantom
from hws_nnunet.demo.chains import CHAINS, Chain
from hws_nnunet.demo.commands import DemoError
from hws_nnunet.demo.scores import GroupDice, score, table
from hws_nnunet.facts.versions import HOSTS
from hws_nnunet.files import atomic_write
from hws_nnunet.messages import some_of

__all__ = ["DemoError", "GroupDice", "run_demo"]

_MARK = ".hws-nnunet-demo"


def run_demo(
    out: Path,
    *,
    version: str = "v2",
    device: str = "cpu",
    seed: int = 0,
    compare: bool = False,
    overwrite: bool = False,
) -> None:
    """Make the phantom below ``out``, train and predict by nnU-Net's commands, and print a table of Dice.

    Args:
        out: folder of the demonstration; nnU-Net's three folders are made in it.
        version: nnU-Net's, ``v1`` or ``v2``.
        device: ``cpu``, ``cuda`` or ``mps``.
        seed: of the phantom.
        compare: also train with uniform sampling, for the same number of steps.
        overwrite: do away with an earlier demonstration in ``out``.

    Raises:
        RuntimeError: this version of nnU-Net is not installed, or too old.
        DemoError: PyTorch cannot use ``device``, ``out`` holds an earlier demonstration, or something else; or a
            command failed.
    """
    begin = time.monotonic()
    HOSTS[version].check_version()
    if not _can_use(device):
        raise DemoError(f"PyTorch finds no {device} device here: --device cpu trains without (nnU-Net's -device cpu)")
    out = Path(out).resolve()
    chain = CHAINS[version](out, device)
    _make_room(out, chain.folders, overwrite)
    try:
        _prepare(chain, seed)
        rows, figures = [], []
        for label in list(chain.trainers)[: 2 if compare else 1]:
            print(f"\n# training with {label} sampling", flush=True)
            fold = chain.train(chain.trainers[label])
            figures += [path for path in (fold / "hardness.png", fold / "progress.png") if path.exists()]
            rows += score(label, chain.predict(chain.trainers[label]), chain.raw)
    except KeyboardInterrupt:
        print(f"\ninterrupted: {out} is not complete; --overwrite does away with it and starts anew", flush=True)
        raise
    lines = table(rows)
    with atomic_write(out / "dice.md") as partial:
        partial.write_text(lines + "\n", encoding="utf-8")
    print(f"\n# Dice of held-out cases, after {time.monotonic() - begin:.0f} s\n{lines}\n")
    if compare:
        print("One short training of each shows how it works; which one is better takes several of each.\n")
    for path in [*figures, out / "dice.md"]:
        print(path)


def _can_use(device: str) -> bool:
    import torch

    if device == "cpu":
        return True
    return torch.cuda.is_available() if device == "cuda" else torch.backends.mps.is_available()


def _prepare(chain: Chain, seed: int) -> None:
    """Make the data, plan and preprocess them."""
    print("# nnU-Net's folders and a trainer that it finds; to repeat a command, set these first", flush=True)
    for line in chain.exports:
        print(f"export {line}")
    if chain.needs_registering:
        print("$ hws-nnunet register", flush=True)
        registration.register(chain.host)
    print(f"\n# a made-up data set of brains, a few of other anatomy and contrast (seed {seed})", flush=True)
    _make_data(chain, seed)
    chain.preprocess()


def _make_room(out: Path, folders: tuple[str, ...], overwrite: bool) -> None:
    """Make nnU-Net's folders in a new or an empty folder, or in the place of an earlier demonstration.

    nnU-Net's folders have the same names everywhere: only a mark of ours tells that nothing else can be in them.
    """
    ours = (*dict.fromkeys(name for chain in CHAINS.values() for name in chain.folders), "predictions", "dice.md")
    there = [name for name in ours if (out / name).exists()]
    others = [path.name for path in out.iterdir() if path.name not in (*ours, _MARK)] if out.exists() else []
    if not (out / _MARK).exists() and (there or others):
        held = some_of(sorted([*there, *others]))
        raise DemoError(f"{out} holds {held}, which no demonstration has made: name an empty or a new folder")
    if there and not overwrite:
        raise DemoError(f"{out} holds {', '.join(there)} of an earlier demonstration; --overwrite does away with them")
    out.mkdir(parents=True, exist_ok=True)
    (out / _MARK).touch()
    for name in there:
        path = out / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in folders:
        (out / name).mkdir()


def _make_data(chain: Chain, seed: int) -> None:
    with tempfile.TemporaryDirectory(dir=chain.out) as folder:
        collection = make_phantom(Path(folder), seed=seed, progress=True)
        target = chain.write_raw(collection)
    print(
        f"{sum(not c.test for c in collection.cases)} training and {sum(c.test for c in collection.cases)} held-out "
        f"cases -> {target}",
        flush=True,
    )
