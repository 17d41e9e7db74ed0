"""Names of others that are replaced for a moment: all are put back, and all stand in one list."""

import ast
from collections import Counter
from pathlib import Path

import pytest

import hws_nnunet
from hws_nnunet.hosts.replaced import NAMES, Through, replaced, replaced_in


class Loader:
    batch_size = 2  # of the class

    def __init__(self):
        self.list_of_keys = ["a", "b"]


def test_attributes_hold_the_values_inside_and_what_they_held_after():
    loader = Loader()

    def fail():
        with replaced(loader, {"batch_size": 1, "list_of_keys": ["b"]}):
            assert (loader.batch_size, loader.list_of_keys) == (1, ["b"])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert loader.list_of_keys == ["a", "b"]
    assert vars(loader).keys() == {"list_of_keys"}, "the class's own shows again"


def test_what_somebody_else_replaced_meanwhile_stays():
    loader = Loader()
    with replaced(loader, {"list_of_keys": ["b"]}):
        loader.list_of_keys = ["c"]
    assert loader.list_of_keys == ["c"]


def test_a_call_goes_through_the_hook_inside_the_block_alone():
    loader = Loader()
    loader._data = lambda value: value + 1
    with replaced(loader, {"_data": Through(lambda original, value: 10 * original(value))}):
        kept = loader._data
        assert kept(1) == 20
    assert kept(1) == 2
    assert loader._data(1) == 2


def test_a_method_and_those_that_it_overrides_are_meant(monkeypatch):
    monkeypatch.setitem(NAMES, "Counter", "of this test")

    class Base:
        def make(self):
            return Counter("aab")

    class Variant(Base):
        def make(self):
            return super().make()

    with replaced_in(Variant, "make", {"Counter": lambda original, text: original(text[:1])}):
        assert Variant().make() == {"a": 1}
    assert Variant().make() == {"a": 2, "b": 1}


def test_a_name_that_is_not_in_the_list_is_refused():
    with pytest.raises(KeyError, match=r"unlisted: names that are replaced stand in hws_nnunet.hosts.replaced.NAMES"):
        replaced(Loader(), {"unlisted": 1}).__enter__()


def test_nothing_of_the_adapters_replaces_names_in_another_way():
    """Assignments to what belongs to somebody else, by setattr or through vars(): none but in the one place."""
    root = Path(hws_nnunet.__file__).parent
    for folder in ("hosts", "nnunetv1", "nnunetv2"):
        for file in (root / folder).glob("*.py"):
            if file.name == "replaced.py":
                continue
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Assign):
                    targets = [ast.unparse(target) for target in node.targets]
                    assert not [t for t in targets if t.startswith("vars(")], f"{file}:{node.lineno}"
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "setattr":
                    assert file.name == "recorder.py", f"{file}:{node.lineno}"
