import numpy as np
import pytest

from hws_nnunet.sampling import CellGrid


@pytest.mark.parametrize(
    ("shape", "patch", "first", "last", "most"),
    [
        ((42, 53, 43), (32, 32, 32), (-9, -9, -9), (5, 16, 6), 8),
        ((100, 120, 80), (32, 32, 32), None, None, 8),
        ((100, 120, 80), (32, 32, 32), None, None, 64),
        ((100, 120, 80), (32, 32, 32), None, None, 5),
        ((30, 200), (32, 32), (-1, 0), (0, 168), 8),
        ((90, 60, 60), (1, 60, 60), (0, -20, -20), (89, -20, -20), 8),
        ((10, 10, 10), (16, 16, 16), (-3, -3, -3), (-3, -3, -3), 8),
        ((500, 7, 9), (3, 2, 2), None, None, 1),
    ],
)
def test_cells_partition_the_positions(shape, patch, first, last, most):
    grid = CellGrid(shape, patch, first, last, max_cells=most)
    assert grid.check_valid() == (True, "")
    assert 1 <= grid.cells <= most
    axes = [np.arange(a, b + 1) for a, b in zip(grid.first, grid.last, strict=True)]
    positions = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(shape))
    counts = np.bincount(grid.cell_of(positions), minlength=grid.cells)
    assert counts / counts.sum() == pytest.approx(grid.shares)


def test_no_cells_where_the_patch_covers_the_image():
    assert CellGrid((30, 30, 30), (32, 32, 32), (-5, -5, -5), (3, 3, 3)).cells == 1
    assert CellGrid((30, 90, 30), (32, 32, 32), (-5, 0, -5), (3, 58, 3)).blocks.tolist() == [1, 7, 1]


def test_no_blocks_narrower_than_a_quarter_of_the_patch():
    assert CellGrid((36, 36, 36), (32, 32, 32)).cells == 1


def test_centres_beyond_the_range_belong_to_the_nearest_cell():
    grid = CellGrid((100, 100), (20, 20))
    assert grid.cell_of(np.array([[-50, -50], [500, 500]])).tolist() == [0, grid.cells - 1]
    assert grid.cell_of(np.array([3, 3])).shape == ()


def test_starts_drawn_from_a_cell_are_uniform_in_it():
    grid = CellGrid((60, 60, 60), (32, 32, 32))
    rng = np.random.default_rng(0)
    for cell in range(grid.cells):
        low, high = grid.start_range(cell)
        starts = np.array([grid.draw_start(cell, rng) for _ in range(400)])
        assert (grid.cell_of(starts) == cell).all()
        assert (starts.min(0) <= low + 1).all()
        assert (starts.max(0) >= high - 1).all()


def test_bad_input():
    with pytest.raises(ValueError, match="differ in length"):
        CellGrid((10, 10), (5,))
    with pytest.raises(ValueError, match="no valid start"):
        CellGrid((10,), (5,), (3,), (2,))
    with pytest.raises(ValueError, match="max_cells has to be at least 1, given: 0"):
        CellGrid((10,), (5,), max_cells=0)
    with pytest.raises(ValueError, match="cell 9 of"):
        CellGrid((100,), (5,)).start_range(9)
