"""Loops as people write them: whether each loss reached its own sample, and what was kept on resuming.

Each loop takes the number of its loader's workers, and gives an :class:`Outcome`. A sample's value is its loss, so a
loss that reached another sample shows in what is tracked. Some samples take longer than others, so that workers get
out of step.
"""

import importlib
import itertools
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from hws_nnunet import HardnessWeightedBatchSampler

SIZE, BATCH, STEPS = 40, 4, 20
EXAMPLES = Path(__file__).parents[2] / "examples"


class Values(Dataset):
    def __len__(self):
        return SIZE

    def __getitem__(self, index):
        time.sleep(0.002 * (index % 7 == 0))
        return torch.tensor(index / SIZE), torch.zeros(2)


class Mappings(Values):
    def __getitem__(self, index):
        value, image = super().__getitem__(index)
        return {"value": value, "image": image}


@dataclass
class Outcome:
    """Samples with another one's loss, samples that are tracked, and visits; after resuming, and before."""

    wrong: int
    tracked: int
    visits: int
    before: int | None = None


def outcome(sampler, before=None):
    table = sampler.sampler.table
    tracked = np.isfinite(table.hardness)
    own = np.arange(SIZE) / SIZE
    wrong = np.abs(table.hardness - own)[tracked] > 0.4 / SIZE
    return Outcome(int(wrong.sum()), int(tracked.sum()), int(table.visits.sum()), before)


def new_sampler(seed=0, batch_size=BATCH, steps=STEPS):
    return HardnessWeightedBatchSampler(SIZE, batch_size, steps_per_epoch=steps, seed=seed, smoothing=0.0)


def new_loader(sampler, workers, *, dataset=None, **options):
    dataset = sampler.indexed(Values() if dataset is None else dataset)
    return DataLoader(dataset, batch_sampler=sampler, num_workers=workers, **options)


def answer(sampler, batch):
    value, _, index = batch
    sampler.update(value.requires_grad_(), index)


def answer_all(sampler, batches, most=None):
    """Answer batches, of which another one is asked for only where it is used; return how many there were."""
    steps = 0
    for batch in batches:
        answer(sampler, batch)
        steps += 1
        if steps == most:
            break
    return steps


def pytorch(workers, *, wrap=lambda loader: loader, passes=3, **options):
    sampler = new_sampler()
    loader = new_loader(sampler, workers, **options)
    for _ in range(passes):
        for batch in wrap(loader):
            answer(sampler, batch)
    return outcome(sampler)


def in_order(workers):
    return pytorch(workers, in_order=False)


def prefetch_factor(workers):
    return pytorch(workers, **({"prefetch_factor": 7} if workers else {}))


def a_batch_for_a_picture(workers):
    def wrap(loader):
        for step, batch in enumerate(loader):
            yield batch
            if step == 10:
                next(iter(loader))
            if step == 3 * STEPS:  # workers that stay begin anew each time
                break

    return pytorch(workers, wrap=wrap, persistent_workers=workers > 0)


def islice(workers):
    return pytorch(workers, wrap=lambda loader: itertools.islice(loader, 3, None, 2))


def zipped(workers):
    return pytorch(workers, wrap=lambda loader: (first for first, _ in zip(loader, list(loader)[::-1], strict=True)))


def left_out(workers):
    return pytorch(workers, wrap=lambda loader: (batch for step, batch in enumerate(loader) if step % 3))


def two_at_once(workers):
    return pytorch(workers, wrap=lambda loader: itertools.chain.from_iterable(zip(loader, loader, strict=True)))


def collate_sorts(samples):
    return torch.utils.data.default_collate(sorted(samples, key=lambda sample: -sample[0]))


def collate_drops(samples):
    return torch.utils.data.default_collate([sample for sample in samples if sample[0] != 0.5])


def collate_forgets(samples):
    return torch.stack([value for value, _ in samples])


def batches_split(inner, keep):
    """A launcher's way to share out batches among processes, of which this one gets every second."""

    class Every:
        def __iter__(self):
            return itertools.islice(iter(inner), keep, None, 2)

        def __len__(self):
            return len(inner) // 2

    return Every()


def shared_out(workers):
    sampler = new_sampler()
    loader = DataLoader(sampler.indexed(Values()), batch_sampler=batches_split(sampler, 1), num_workers=workers)
    for batch in itertools.chain(loader, loader, loader):
        answer(sampler, batch)
    return outcome(sampler)


def torchdata(workers, **options):
    """A pass that is saved after 27 of 40 batches, its state old by up to 5 of them, and goes on in another process."""
    stateful = importlib.import_module("torchdata.stateful_dataloader").StatefulDataLoader

    def begin(seed):
        sampler = new_sampler(seed)
        return sampler, stateful(sampler.indexed(Values()), batch_sampler=sampler, num_workers=workers, **options)

    sampler, loader = begin(0)
    answer_all(sampler, loader)
    answer_all(sampler, loader, 7)
    before, saved = outcome(sampler), (loader.state_dict(), sampler.learnt.state_dict())
    sampler, loader = begin(9)
    sampler.learnt.load_state_dict(saved[1])
    loader.load_state_dict(saved[0])
    rest = iter(loader)
    resumed = outcome(sampler)
    assert answer_all(sampler, rest) == STEPS - 7, "the pass goes on where it was"
    assert answer_all(sampler, loader) == STEPS
    found = outcome(sampler)
    return Outcome(found.wrong, found.tracked, resumed.visits, before.visits)


def torchdata_snapshots(workers):
    return torchdata(workers, snapshot_every_n_steps=5)


def ignite(workers, engine="Engine"):
    events = importlib.import_module("ignite.engine")
    deterministic = importlib.import_module("ignite.engine.deterministic")
    sampler = new_sampler()
    made = {"Engine": events.Engine, "DeterministicEngine": deterministic.DeterministicEngine}[engine]
    made(lambda _, batch: answer(sampler, batch)).run(new_loader(sampler, workers), max_epochs=3)
    return outcome(sampler)


def deterministic_engine(workers):
    return ignite(workers, "DeterministicEngine")


def monai(workers, dataset="CacheDataset", loader="DataLoader", **options):
    """Two patches of each image, in which images are lists of mappings."""
    data = importlib.import_module("monai.data")
    transforms = importlib.import_module("monai.transforms")
    cases = [{"image": torch.full((1, 8, 8), i / SIZE)} for i in range(SIZE)]
    crop = transforms.RandSpatialCropSamplesd("image", (4, 4), num_samples=2, random_size=False)
    options |= {"cache_num": 20, "replace_rate": 0.5} if dataset == "SmartCacheDataset" else {}
    images = getattr(data, dataset)(cases, crop, progress=False, **options)
    sampler = new_sampler()
    batches = getattr(data, loader)(
        sampler.indexed(images), batch_sampler=sampler, num_workers=workers, collate_fn=data.list_data_collate
    )
    for batch in itertools.chain(batches, batches, batches):
        assert len(batch["image"]) == 2 * BATCH
        sampler.update(batch["image"].flatten(1).mean(1), batch["index"])
    return outcome(sampler)


def smart_cache(workers):
    return monai(workers, "SmartCacheDataset")


def thread_loader(workers):
    return monai(workers, loader="ThreadDataLoader")


def accelerated(seed, workers, **options):
    """Return an accelerator, a sampler and its prepared loader."""
    library = importlib.import_module("accelerate")
    library.state.AcceleratorState._reset_state()
    configuration = library.utils.DataLoaderConfiguration(**options)
    accelerator = library.Accelerator(cpu=True, dataloader_config=configuration)
    sampler = new_sampler(seed)
    accelerator.register_for_checkpointing(sampler.learnt)
    return accelerator, sampler, accelerator.prepare(new_loader(sampler, workers))


def accelerate(workers, **options):
    accelerator, sampler, loader = accelerated(0, workers, **options)
    steps = answer_all(sampler, loader), answer_all(sampler, accelerator.skip_first_batches(loader, 4))
    assert steps == (len(loader), len(loader) - (2 if "dispatch_batches" in options else 4)), (
        "skipped before a dispatch"
    )
    answer_all(sampler, loader)
    return outcome(sampler)


def saved_by_accelerate(workers, folder, **options):
    """What ``save_state`` saves in the middle of a pass, and ``load_state`` restores."""
    accelerator, sampler, loader = accelerated(0, workers, **options)
    steps = len(loader)
    answer_all(sampler, loader)
    answer_all(sampler, loader, 7)
    before = outcome(sampler).visits
    accelerator.save_state(folder)
    accelerator, sampler, loader = accelerated(9, workers, **options)
    accelerator.load_state(folder)
    stateful = options.get("use_stateful_dataloader")
    rest = iter(loader if stateful else accelerator.skip_first_batches(loader, 7))
    first = next(rest)
    resumed = outcome(sampler).visits
    answer(sampler, first)
    rest = answer_all(sampler, rest)
    assert rest == steps - 8 or "dispatch_batches" in options, "the pass goes on where it was"
    assert answer_all(sampler, loader) == steps
    found = outcome(sampler)
    return Outcome(found.wrong, found.tracked, resumed, before)


def lightning(workers, folder, **options):
    """Lightning's fit with the example's callback, ended amid a pass, and another that goes on."""
    library = importlib.import_module("lightning")
    sys.path.insert(0, str(EXAMPLES))
    weighting = importlib.import_module("lightning_module").HardnessWeighting

    class Module(library.LightningModule):
        def __init__(self, hardness):
            super().__init__()
            self.hardness, self.weight = hardness, torch.nn.Parameter(torch.ones(()))

        def train_dataloader(self):
            return new_loader(self.hardness.sampler, workers)

        def training_step(self, batch, step):
            value, _, index = batch
            left_out = step % 3 == 1 and not options  # which Lightning does not do on several devices
            return None if left_out else {"loss": self.weight * 0.5, "losses": value, "index": index}

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    def fit(seed, steps, checkpoint=None):
        hardness = weighting(SIZE, BATCH, steps_per_epoch=STEPS, seed=seed, smoothing=0.0)
        seen = []
        if checkpoint:
            hardness.on_train_start = lambda *_: seen.append(outcome(hardness.sampler).visits)
        trainer = library.Trainer(
            accelerator="cpu",
            max_steps=steps,
            max_epochs=9,
            callbacks=[hardness],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **options,
        )
        trainer.fit(Module(hardness), ckpt_path=checkpoint, weights_only=True)
        return hardness.sampler, trainer, seen

    sampler, trainer, _ = fit(0, 2 * (STEPS - STEPS // 3) - 5)
    before = outcome(sampler).visits
    trainer.save_checkpoint(Path(folder) / "checkpoint")
    sampler, _, (resumed,) = fit(9, 60, Path(folder) / "checkpoint")
    found = outcome(sampler)
    return Outcome(found.wrong, found.tracked, resumed, before)
