"""What people wrap loaders with: each loss reaches its own sample, or an error says why not.

The table of it stands in the documentation: ``HWS_WRITE_PAGES=1 pytest tests/loop/test_wrappers.py`` writes it.
"""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.utils.data import IterableDataset, Subset, TensorDataset

from hws_nnunet import HardnessWeightedBatchSampler
from tests.loop import wrapped

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "wrappers.md"
WORKERS = (0, 2)
QUIET = pytest.mark.filterwarnings("ignore:.*")
LOOPS = {
    ("torch", "as documented"): wrapped.pytorch,
    ("torch", "`in_order=False`"): wrapped.in_order,
    ("torch", "`prefetch_factor=7`"): wrapped.prefetch_factor,
    ("torch", "`next(iter(loader))` amid a pass, `persistent_workers`"): wrapped.a_batch_for_a_picture,
    ("torch", "`itertools.islice`, every second batch"): wrapped.islice,
    ("torch", "`zip` with another loader, backwards"): wrapped.zipped,
    ("torch", "`continue` at every third batch"): wrapped.left_out,
    ("torch", "two passes at once"): wrapped.two_at_once,
    ("torch", "every second batch in another process"): wrapped.shared_out,
    ("torch", "a collate function that sorts"): partial(wrapped.pytorch, collate_fn=wrapped.collate_sorts),
    ("torch", "a collate function that drops samples"): partial(wrapped.pytorch, collate_fn=wrapped.collate_drops),
    ("torch", "a collate function for (value, image)"): partial(wrapped.pytorch, collate_fn=wrapped.collate_forgets),
    ("torchdata", "`StatefulDataLoader`"): wrapped.torchdata,
    ("torchdata", "`snapshot_every_n_steps=5`"): wrapped.torchdata_snapshots,
    ("accelerate", "`prepare`, `skip_first_batches`"): wrapped.accelerate,
    ("accelerate", "`save_state`, `load_state`"): wrapped.saved_by_accelerate,
    ("accelerate", "the same, `use_stateful_dataloader`"): partial(
        wrapped.saved_by_accelerate, use_stateful_dataloader=True
    ),
    ("lightning", "`fit`, resumed amid a pass"): wrapped.lightning,
    ("pytorch-ignite", "`Engine`"): wrapped.ignite,
    ("pytorch-ignite", "`DeterministicEngine`, which draws a whole pass ahead"): wrapped.deterministic_engine,
    ("monai", "`CacheDataset`, two patches of each image"): wrapped.monai,
    ("monai", "`ThreadDataLoader`"): wrapped.thread_loader,
    ("monai", "`SmartCacheDataset`"): wrapped.smart_cache,
}
SEVERAL = {
    "prepare": ("accelerate", "`prepare`, `skip_first_batches`"),
    "split_batches": ("accelerate", "the same, `split_batches`"),
    "dispatch_batches": ("accelerate", "the same, `dispatch_batches`"),
    "save_state": ("accelerate", "`save_state`, `load_state`"),
    "use_stateful_dataloader": ("accelerate", "the same, `use_stateful_dataloader`"),
    "both": ("accelerate", "the same, `use_stateful_dataloader` and `dispatch_batches`"),
    "lightning": ("lightning", "`fit`, resumed amid a pass"),
}
ERRORS = {
    "a collate function for (value, image)": "ValueError: too many values to unpack",
    "`SmartCacheDataset`": "TypeError: SmartCacheDataset puts another sample behind an index",
}
seen = {}
"""Of each loop and number of processes, what came of it without and with workers."""


def needs(peer):
    try:
        return importlib.metadata.version(peer).split("+")[0]
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{peer} is not installed")


def check(found):
    assert found.wrong == 0
    assert found.tracked > wrapped.SIZE / 2
    assert found.before is None or found.visits == found.before > 0


@QUIET
@pytest.mark.parametrize(("peer", "name"), LOOPS)
def test_each_loss_reaches_its_sample(peer, name, tmp_path):
    needs(peer)
    loop, outcomes = LOOPS[peer, name], []
    where = getattr(loop, "func", loop) in (wrapped.saved_by_accelerate, wrapped.lightning)
    for workers in WORKERS:
        (tmp_path / str(workers)).mkdir()
        folder = [tmp_path / str(workers)] if where else []
        if name in ERRORS:
            with pytest.raises((TypeError, ValueError), match=re.escape(ERRORS[name].split(": ")[1])) as error:
                loop(workers, *folder)
            kind = error.type.__name__
            outcomes.append(f"{kind}: {str(error.value).splitlines()[-1].removeprefix(f'{kind}: ')}")
            continue
        outcomes.append(loop(workers, *folder))
        check(outcomes[-1])
    seen[peer, name, 1] = outcomes


@pytest.mark.slow
def test_each_loss_reaches_its_sample_on_two_processes(tmp_path):
    for peer, _ in SEVERAL.values():
        needs(peer)
    script = Path(__file__).with_name("wrapped_ranks.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    root = str(Path(__file__).parents[2])
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [*command, str(script), str(tmp_path)], capture_output=True, text=True, timeout=600, check=False, env=env
    )
    assert done.returncode == 0, done.stderr[-3000:]
    ranks = [json.loads((tmp_path / f"found.{rank}.json").read_text()) for rank in range(2)]
    assert ranks[0] == ranks[1], "both have taken in all losses"
    for name, (peer, loop) in SEVERAL.items():
        seen[peer, loop, 2] = [wrapped.Outcome(**ranks[0][f"{name} {workers}"]) for workers in WORKERS]
        for found in seen[peer, loop, 2]:
            check(found)


def test_the_page_says_so():
    wanted = [(*loop, 1) for loop in LOOPS] + [(*loop, 2) for loop in SEVERAL.values()]
    if missing := [loop for loop in wanted if loop not in seen]:
        pytest.skip(f"{len(missing)} loops were not run, the first of them {missing[0]}")
    rows = ["| with | loop | processes | losses at another sample | visits after resuming |", "|---|---|---|---|---|"]
    for peer, name, processes in wanted:
        outcomes = seen[peer, name, processes]
        if isinstance(outcomes[0], str):
            wrong, visits = f"error: {outcomes[0]}", "-"
        else:
            wrong = " / ".join(f"{found.wrong} of {wrapped.SIZE}" for found in outcomes)
            resumed = [f"{found.visits} of {found.before}" for found in outcomes if found.before is not None]
            visits = " / ".join(resumed) or "-"
        rows.append(f"| {peer} {needs(peer)} | {name} | {processes} | {wrong} | {visits} |")
    text = PAGE.read_text(encoding="utf-8")
    before, _ = text.split("| with |")
    now = before + "\n".join(rows) + "\n"
    if os.environ.get("HWS_WRITE_PAGES"):
        PAGE.write_text(now, encoding="utf-8")
    assert without_versions(PAGE.read_text(encoding="utf-8")) == without_versions(now)


def without_versions(text):
    return re.sub(r"^(\| [a-z-]+) [\d.]+ ", r"\1 ", text, flags=re.MULTILINE)


class Numbers(IterableDataset):
    def __iter__(self):
        return iter(range(4))


class Queue:
    """Of torchio's name, which gives any patch for an index."""

    __module__ = "torchio.data.queue"

    def __len__(self):
        return 4

    def __getitem__(self, index):
        raise NotImplementedError


def test_data_sets_that_cannot_be_indexed():
    sampler = HardnessWeightedBatchSampler(4, 2)
    four = TensorDataset(torch.zeros(4))
    for error, message, dataset in (
        (ValueError, "the data set has 3 samples, the sampler was made for 4", Subset(four, [0, 1, 2])),
        (TypeError, "Numbers has no indices, by which", Numbers()),
        (TypeError, "Queue puts another sample behind an index .* such as SubjectsDataset", Queue()),
        (
            TypeError,
            "Queue puts another sample behind",
            Subset(Subset(type("Queue", (Queue, TensorDataset), {})(), []), []),
        ),
        (TypeError, "Numbers has no indices", torch.utils.data.StackDataset(four) + Subset(Numbers(), [0])),
    ):
        with pytest.raises(error, match=message):
            sampler.indexed(dataset)
    with pytest.raises(ValueError, match="samples have a 'index' already: give indexed another key"):
        sampler.indexed([{"index": 1}] * 4)[0]


class Fast:
    def __len__(self):
        return 4

    def __getitems__(self, indices):
        return [{"value": i} for i in indices]

    def __getitem__(self, index):
        return {"value": index}


def test_every_kind_of_sample_carries_its_index():
    sampler = HardnessWeightedBatchSampler(4, 2)
    point = type("point", (tuple,), {})((7, 8))
    for sample, expected in (
        ((7, 8), (7, 8, 2)),
        ([7, 8], [7, 8, 2]),
        ([], [2]),
        ({"a": 7}, {"a": 7, "index": 2}),
        ([{"a": 7}, {"a": 8}], [{"a": 7, "index": 2}, {"a": 8, "index": 2}]),
        (7, (7, 2)),
        (point, (point, 2)),
    ):
        indexed = sampler.indexed([sample] * 4)
        assert indexed[2] == indexed.__getitems__([0, 2])[1] == expected
        assert type(indexed[2]) is type(expected)
    given = {"a": 7}
    assert sampler.indexed([given] * 4, key="which")[3] == {"a": 7, "which": 3}
    assert given == {"a": 7}, "a cached sample stays as it is"
    assert sampler.indexed(Fast()).__getitems__([3]) == [{"value": 3, "index": 3}]
    assert sampler.indexed(TensorDataset(torch.zeros(4))).tensors[0].shape == (4,), "all else is the data set's"


@QUIET
def test_monais_augmentation_differs_between_workers():
    """MONAI seeds the transforms that it finds below a loader's data set, in each worker anew."""
    needs("monai")
    from monai.data import DataLoader as Loader
    from monai.data import Dataset as Images
    from monai.transforms import RandGaussianNoised

    sampler = HardnessWeightedBatchSampler(8, 4, seed=0)
    images = Images([{"image": torch.zeros(1, 4, 4)}] * 8, RandGaussianNoised("image", prob=1.0))
    loader = Loader(sampler.indexed(images), batch_sampler=sampler, num_workers=2)
    found = torch.cat([batch["image"].flatten(1) for batch in loader])
    assert len(found) == len(found.unique(dim=0)) == 8
