#!/usr/bin/env bash
# MONAI 1.6.1: a persistent data set whose transforms have changed
#
# Guess:     where the transforms are other ones than those that filled the cache folder, items are computed anew.
# Behaviour: the file of an item is named by the item alone. A run with other transforms gets what the earlier ones made,
#            without a warning, unless both runs were given hash_transform.
# Seen:      times 10: 20; then times 100 on the same folder: 20; with hash_transform from the first: 20, 200
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-compile --target "$work/lib" numpy==2.2.6 torch==2.13.0 monai==1.6.1
cd "$work"
cat > cached.py <<'PY'
import sys
import warnings

warnings.simplefilter("error", UserWarning)
from monai.data import PersistentDataset  # noqa: E402
from monai.data.utils import pickle_hashing  # noqa: E402
from monai.transforms import Compose, Transform  # noqa: E402


class Times(Transform):
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, item):
        return item["value"] * self.factor


def third(factor, folder, **how):
    items = [{"value": value} for value in range(3)]
    return PersistentDataset(items, Compose([Times(factor)]), cache_dir=folder, **how)[2]


plain = [third(factor, "plain") for factor in (10, 100)]
hashed = [third(factor, "hashed", hash_transform=pickle_hashing) for factor in (10, 100)]
print(plain, hashed)
sys.exit(None if (plain, hashed) == ([20, 20], [20, 200]) else "changed: expected [20, 20] [20, 200]")
PY
PYTHONPATH="$work/lib" python3 cached.py
