#!/usr/bin/env bash
# torchdata 0.11.0, StatefulDataLoader, beside a batch sampler with a state of its own: saved at the end of a pass
#
# Guess:     a training that saves after a whole pass and is resumed goes on with the next batch, with or without workers.
# Behaviour: without workers it does. With workers the resumed loader first begins the pass that is over, which asks the
#            batch sampler for 2 batches a worker (what is prefetched), finds that nothing is left of it, and begins anew.
#            These batches are drawn and never given out; a training that was not interrupted has them.
# Seen:      first batch after 10: no workers 10; 1 worker 12; 2 workers 14; not interrupted 10
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --target "$work/lib" numpy==2.2.6 torch==2.13.0 torchdata==0.11.0
cd "$work"
cat > resume.py <<'PY'
import torch
from torch.utils.data import Sampler
from torchdata.stateful_dataloader import StatefulDataLoader


class Counting(Sampler):
    """Ten batches a pass; the n-th batch ever asked for holds n."""

    def __init__(self):
        self.asked = 0

    def __len__(self):
        return 10

    def __iter__(self):
        for _ in range(10):
            self.asked += 1
            yield [self.asked - 1]

    def state_dict(self):
        return {"asked": self.asked}

    def load_state_dict(self, state):
        self.asked = state["asked"]


def loader(workers):
    return StatefulDataLoader(torch.arange(100), batch_sampler=Counting(), num_workers=workers)


def after_resume(workers):
    first = loader(workers)
    assert [int(batch) for batch in first] == list(range(10))
    second = loader(workers)
    second.load_state_dict(first.state_dict())
    resumed = [int(batch) for batch in second]
    assert [int(batch) for batch in first] == list(range(10, 20))  # not interrupted
    return resumed[0], len(resumed)


if __name__ == "__main__":
    seen = {workers: after_resume(workers) for workers in (0, 1, 2)}
    print("workers: (first batch after a resume, batches of that pass):", seen)
    expected = {0: (10, 10), 1: (12, 10), 2: (14, 10)}
    raise SystemExit(None if seen == expected else f"changed: expected {expected}")
PY
PYTHONPATH="$work/lib" python3 -W ignore resume.py
