import io
import sys
import threading
from collections import Counter, OrderedDict, defaultdict
from typing import NamedTuple

import numpy as np
import pytest
import torch

from hws_nnunet.hosts import replaced
from hws_nnunet.hosts.checkpoints import extended_checkpoint, watched_checkpoint, without_numpy_scalars

CHECKPOINT = {"weights": [1.0], "epoch": 3}


class Point(NamedTuple):
    x: float
    y: float


def test_whatever_holds_the_weights_is_extended(tmp_path):
    with extended_checkpoint("weights", {"ours": 7}) as extended:
        torch.save(CHECKPOINT, tmp_path / "another_name.pth")
        torch.save(obj=CHECKPOINT, f=str(tmp_path / "keywords.pth"))
        torch.save({"epoch": 3}, tmp_path / "other.pth")
        torch.save([1, 2], tmp_path / "list.pth")
        opened = io.BytesIO()
        torch.save(CHECKPOINT, opened)
    opened.seek(0)
    assert extended == [tmp_path / "another_name.pth", str(tmp_path / "keywords.pth"), opened]
    for file in (*extended[:2], opened):
        assert torch.load(file) == {**CHECKPOINT, "ours": 7}
    assert torch.load(tmp_path / "other.pth") == {"epoch": 3}
    assert torch.load(tmp_path / "list.pth") == [1, 2]


def in_thread(function, *args):
    thread = threading.Thread(target=function, args=args)
    thread.start()
    return thread


class Host:
    def make(self):
        return Counter()


BLOCKS = {
    "save": (torch, lambda: extended_checkpoint("weights", {})),
    "load": (torch, lambda: watched_checkpoint("ours")),
    "Counter": (sys.modules[__name__], lambda: replaced.replaced_in(Host, "make", {"Counter": lambda original: None})),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_of_two_threads_leave_all_as_it_was(name, monkeypatch):
    monkeypatch.setitem(replaced.NAMES, "Counter", "of this test")
    module, make = BLOCKS[name]
    before = getattr(module, name)
    first_is_in, first_may_leave = threading.Event(), threading.Event()
    second_is_in, second_may_leave = threading.Event(), threading.Event()

    def block(is_in, may_leave):
        with make():
            is_in.set()
            may_leave.wait(10)

    first = in_thread(block, first_is_in, first_may_leave)
    assert first_is_in.wait(10)
    second = in_thread(block, second_is_in, second_may_leave)
    second_is_in.wait(0.5)  # where it does not have to wait for the first
    first_may_leave.set()
    first.join(10)
    second_may_leave.set()
    second.join(10)
    assert not first.is_alive()
    assert not second.is_alive()
    assert getattr(module, name) is before


@pytest.mark.parametrize("keeps", [False, True], ids=["puts it back", "keeps its own"])
def test_somebody_else_who_replaces_torch_save_meanwhile(tmp_path, monkeypatch, keeps):
    """As a library does in another thread: what it puts back later is ours, whose block has ended by then."""
    monkeypatch.setattr(torch, "save", torch.save)
    with extended_checkpoint("weights", {"ours": 7}) as extended:
        found = torch.save
        mine = lambda *args, **kwargs: found(*args, **kwargs)  # noqa: E731
        torch.save = mine
        torch.save(CHECKPOINT, tmp_path / "inside.pth")
    assert torch.save is mine, "what is not ours stays"
    if not keeps:
        torch.save = found
    torch.save(CHECKPOINT, tmp_path / "after.pth")
    assert extended == [tmp_path / "inside.pth"]
    assert torch.load(tmp_path / "after.pth") == CHECKPOINT


def test_what_other_threads_save_and_load_is_left_alone(tmp_path):
    loaded = []
    with extended_checkpoint("weights", {"ours": 7}) as extended:
        in_thread(torch.save, CHECKPOINT, tmp_path / "other.pth").join(10)
        torch.save(CHECKPOINT, tmp_path / "mine.pth")
    assert extended == [tmp_path / "mine.pth"]
    assert torch.load(tmp_path / "other.pth") == CHECKPOINT
    with watched_checkpoint("ours") as found:
        in_thread(lambda: loaded.append(torch.load(tmp_path / "mine.pth"))).join(10)
    assert loaded[0]["ours"] == 7
    assert found == []


def test_numpy_scalars_become_numbers_and_containers_stay_what_they_are():
    one = np.float64(1)
    counts = defaultdict(list, a=[one])
    weights = OrderedDict(b=one, a=np.array(2))
    weights._metadata = {"version": 1}
    given = {
        "counts": counts,
        "weights": weights,
        "counter": Counter({"a": np.int64(3)}),
        "point": Point(one, np.float32(2)),
        "size": torch.Size([3, 4]),
        "array": np.zeros(2),
        "nested": [(one, {"x": one})],
    }
    cleaned = without_numpy_scalars(given)
    assert cleaned["point"] == Point(1.0, 2.0)
    assert cleaned["weights"] == OrderedDict(b=1.0, a=2)
    assert cleaned["weights"]._metadata == {"version": 1}
    assert cleaned["counts"] == {"a": [1.0]}
    assert cleaned["counts"]["new"] == []
    assert cleaned["counter"] == Counter(a=3)
    for key in given:
        assert type(cleaned[key]) is type(given[key])
    numbers = [*cleaned["point"], *cleaned["weights"].values(), cleaned["counter"]["a"], *cleaned["nested"][0]]
    assert [type(number) for number in numbers] == [float, float, float, int, int, float, dict]
    assert cleaned["array"] is given["array"]
    assert counts["a"][0] is one, "what is given stays as it is"
