import numpy as np
import pytest

from hws_nnunet.core.sum_tree import SumTree


def tree_of(n):
    return SumTree(memoryview(bytearray(8 * SumTree.words(n))).cast("d"), n)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 100])
def test_equals_an_array_under_random_operations(n):
    rng = np.random.default_rng(n)
    tree, twin = tree_of(n), np.zeros(n)
    twin[:] = rng.random(n)
    tree.fill(twin)
    for _ in range(300):
        index = int(rng.integers(n))
        twin[index] = rng.choice([0.0, rng.random(), 1e-12, 1e6])
        tree.set(index, twin[index])
        assert tree.get(index) == twin[index]
        assert np.array_equal(tree.weights, twin)
        assert tree.total == pytest.approx(twin.sum(), rel=1e-12)
        if twin.sum() > 0:
            mass = rng.random() * tree.total
            expected = int(np.searchsorted(np.cumsum(twin), mass, side="right"))
            found = tree.find(mass)
            assert twin[found] > 0
            assert found == expected or abs(np.cumsum(twin)[min(found, expected)] - mass) < 1e-9 * twin.sum()


def test_never_finds_an_empty_leaf_at_the_upper_end():
    tree = tree_of(5)
    tree.fill(np.array([1.0, 2.0, 0.0, 0.0, 0.0]))
    assert tree.find(np.nextafter(3.0, 0)) == 1
    assert tree.find(3.0) == 1
    assert tree.find(0.0) == 0
