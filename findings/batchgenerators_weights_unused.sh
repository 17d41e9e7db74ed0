#!/usr/bin/env bash
# batchgenerators 0.25.5: sampling probabilities of a data loader that ends
#
# Guess:     a DataLoader that is not infinite raises when it is given sampling_probabilities, if it cannot use them.
# Behaviour: it takes them and never uses them: every case comes once, in order, also one whose probability is 0. Only an
#            infinite loader draws by them.
# Seen:      finite: [0, 1, 2, 3, 4, 5]; infinite: [0, 0, 0, 0, 0, 0]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --no-deps --target "$work/lib" numpy==2.2.6 batchgenerators==0.25.5
cd "$work"
PYTHONPATH="$work/lib" python3 - <<'PY'
from itertools import islice

from batchgenerators.dataloading.data_loader import DataLoader


class Cases(DataLoader):
    def __init__(self, infinite):
        only_first = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
        super().__init__(
            list(range(6)), batch_size=2, infinite=infinite, shuffle=False, sampling_probabilities=only_first
        )
        self.indices = list(range(6))

    def generate_train_batch(self):
        return list(self.get_indices())


seen = {kind: [int(i) for b in islice(Cases(kind == "infinite"), 3) for i in b] for kind in ("finite", "infinite")}
print(seen)
expected = {"finite": [0, 1, 2, 3, 4, 5], "infinite": [0] * 6}
raise SystemExit(None if seen == expected else f"changed: expected {expected}")
PY
