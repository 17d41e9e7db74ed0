"""The sampler: draws cases and cells by hardness, and learns hardness from the losses that come back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import isfinite

import numpy as np
import torch

from hws_nnunet.config import Settings
from hws_nnunet.sampling.distribution import effective_sample_size, exponents, solve_beta, tilt, tilt_limit
from hws_nnunet.sampling.draws import Draws
from hws_nnunet.sampling.stalls import StallWatch, bound
from hws_nnunet.sampling.table import HardnessTable

_SHORTFALL = 0.02  # of the effective sample size: beyond it all weights are computed anew
_DRIFT = 0.05  # of it upwards, and of the total weight, likewise
_LARGEST_EXPONENT = 600.0
_LAG_RATE = 0.05  # of the running mean
_FROZEN = (
    "_beta",
    "_tilted",
    "_reference",
    "_top",
    "_log_sum",
    "_floor",
    "_total",
    "_squares",
    "_ess",
    "_bound",
    "_stalled",
)


class HardnessWeightedSampler(Draws):
    """Draws cases with probability by hardness (softmax of beta times the tracked loss, with safeguards).

    One object serves both sides. The training process calls :meth:`update`; workers, which hold a copy that shares
    the table, call :meth:`draw_cases` and :meth:`draw_cell` with generators of their own. ``docs/method.md`` has the
    formulas; the settings' names and ranges are :class:`~hws_nnunet.config.Settings`'.

    Between two computations of all weights, a new loss changes its own case's weight at once, exactly as the closed
    form has it at the beta in force. What is normalised over all cases waits until it has moved: the effective sample
    size may be 2 % short of its bound, the uniform share and the cap hold to 5 %. :meth:`refresh` makes all exact.

    Args:
        names: the cases' names; a case's id is its index.
        settings: the default ones where None.
        measures: names of the losses tracked for every case; ``settings.draw_by`` has to be among them. Where there is
            only one, draws go by that.
        rng: gives the first sweep's order; the numbers' own order where None.
        context: a ``multiprocessing`` context for the shared memory.
    """

    def __init__(
        self,
        names: Sequence[str],
        settings: Settings | None = None,
        *,
        measures: Sequence[str] = ("loss",),
        rng: np.random.Generator | None = None,
        context: object = None,
    ):
        settings = Settings() if settings is None else settings
        draw_by = measures[0] if len(measures) == 1 else settings.draw_by
        table = HardnessTable(names, measures=measures, draw_by=draw_by, cells=settings.cells, context=context)
        if rng is not None:
            table.order[:] = rng.permutation(len(table))
        super().__init__(table, settings)

    def _prepare(self) -> None:
        super()._prepare()
        table = self.table
        self._stalls = StallWatch(table)
        self._smoothing = self.settings.smoothing  # attributes of the settings model are slower to reach
        self._hardness = table.words["hardness"]
        self._cell_hardness = table.words["cell_hardness"]
        # The frozen parts of a weight, tilted * exp(min(beta (S - reference), top) - log_sum) + floor: the training
        # process alone uses them.
        self._beta, self._tilted, self._reference, self._top, self._log_sum, self._floor = (
            0.0,
            1.0,
            0.0,
            math.inf,
            0.0,
            0.0,
        )
        self._total = self._squares = float(len(table))
        self._ess = float(len(table))
        self._bound, self._stalled = math.inf, []

    # ---------------------------------------------------------------- updates (training process)

    def update(
        self,
        cases: Sequence[int],
        cells: Sequence[int] | None,
        losses: np.ndarray,
        *,
        version: int | None = None,
    ) -> None:
        """Take in the losses of one training step, in the samples' order.

        Args:
            cases: ``(B,)`` ids.
            cells: ``(B,)`` cells; None counts all as cell 0.
            losses: ``(B,)`` or ``(B, number of measures)``. A value that is not finite counts as a visit and changes
                nothing else.
            version: the table's version when the batch was drawn, as the draw returned it; tells how far draws and
                updates lie apart, on which the in-flight limit rests.

        Raises:
            ValueError: for lengths that differ, or ids and cells out of range; nothing is changed then.
        """
        table = self.table
        samples = self._checked(cases, cells, losses)
        weighted, visits, answer = table.weighted, self._visits, self._marks.answer
        turned = False
        with table.writing():
            before = unseen = table.unseen
            for case, cell, row in samples:
                if visits[case] == 0:
                    unseen -= 1
                visits[case] += 1
                answer(case)
                turned |= self._take_in(case, cell, row)
                if weighted:
                    self._reweigh(case)
            newly_seen, lag = unseen < before, table.lag
            if version is not None:
                # By Little's law the mean lag is the mean number of batches under way.
                lag += _LAG_RATE * (table.version - version - lag)
            table.count_update(unseen, lag)
            # Before any reader sees weights that a jump has thrown out of scale.
            if turned or self._has_drifted() or (unseen == 0 and newly_seen) if weighted else unseen == 0:
                self._compute_weights()

    def _checked(
        self, cases: Sequence[int], cells: Sequence[int] | None, losses: np.ndarray
    ) -> list[tuple[int, int, list[float]]]:
        table = self.table
        cases, rows = _plain(cases), _plain(losses)
        if rows and not isinstance(rows[0], list):
            rows = [[row] for row in rows]
        cells = [0] * len(cases) if cells is None else _plain(cells)
        n, tracked, measures = len(table.names), table.cells, len(table.measures)
        if not len(rows) == len(cells) == len(cases) or (rows and len(rows[0]) != measures):
            raise ValueError(
                f"{len(cases)} cases, {len(cells)} cells and losses of shape {np.shape(losses)} given; expected as "
                f"many cells and losses as cases, and {measures} losses each ({', '.join(table.measures)})"
            )
        if cases and not (min(cases) >= 0 and max(cases) < n and min(cells) >= 0 and max(cells) < tracked):
            raise ValueError(f"cases {cases} and cells {cells} given; there are {n} cases with {tracked} cells")
        return list(zip(cases, cells, rows, strict=True))

    def _take_in(self, case: int, cell: int, row: list[float]) -> bool:
        """Track a sample's losses; return whether its case, far harder than the others, is now or no longer stalled."""
        table, smoothing, tracked = self.table, self._smoothing, self._hardness
        index = case * len(row)
        for value in row:
            if isfinite(value):
                old = tracked[index]
                tracked[index] = value if old != old else smoothing * old + (1.0 - smoothing) * value
            index += 1
        value, index, tracked = row[table.column], case * table.cells + cell, self._cell_hardness
        if not isfinite(value):
            return False
        old = tracked[index]
        tracked[index] = value if old != old else smoothing * old + (1.0 - smoothing) * value
        return (
            self._stalls.add(case, value, self._bound) and self._hardness[case * len(row) + table.column] > self._bound
        )

    def _reweigh(self, case: int) -> None:
        """Compute one case's weight with the parts that are frozen until the next refresh."""
        hardness = self._hardness[case * len(self.table.measures) + self.table.column]
        if hardness != hardness:  # visited, without a value yet: it keeps the weight that the last refresh gave it
            return
        if case in self._stalled:  # its weight is the uniform one
            if hardness <= self._bound:
                self._total = math.nan
            return
        exponent = min(self._beta * (hardness - self._reference), self._top) - self._log_sum
        if exponent > _LARGEST_EXPONENT:
            self._total = math.nan  # far beyond the frozen scale: all weights have to be computed anew
            return
        weight = self._tilted * math.exp(exponent) + self._floor
        tree = self.table.tree
        old = tree.get(case)
        self._squares += weight * weight - old * old
        tree.set(case, weight)

    def _has_drifted(self) -> bool:
        total = self.table.tree.total
        if not abs(total - self._total) <= _DRIFT * self._total:
            return True
        ess = total * total / self._squares if self._squares > 0 else 0.0
        return not (1 - _SHORTFALL) * self._ess <= ess <= (1 + _DRIFT) * self._ess

    def refresh(self) -> None:
        """Compute beta in force and all weights anew (training process only)."""
        with self.table.writing():
            self._compute_weights()

    def _compute_weights(self) -> None:
        table, settings, n = self.table, self.settings, len(self.table)
        hardness, free = self.ranked_hardness(), np.ones(n, dtype=bool)
        if settings.stall_limit:
            self._bound = bound(hardness)
            free = ~self._stalls.stalled(hardness, self._bound)
        self._stalled = np.flatnonzero(~free).tolist()
        hardness = hardness[free]
        m = len(hardness)
        options = {"uniform_fraction": settings.uniform_fraction, "cap": settings.cap}
        beta = solve_beta(hardness, settings.beta, settings.ess * m, start=table.beta, **options)
        exponent = exponents(hardness, beta)
        self._beta = beta
        self._reference = float(hardness.max())
        self._top, self._log_sum = tilt(exponent, tilt_limit(m, **options))
        self._tilted, self._floor = (1.0 - settings.uniform_fraction) * m / n, settings.uniform_fraction / n
        weights = np.full(n, 1.0 / n)
        weights[free] = self._tilted * np.exp(np.minimum(exponent, self._top) - self._log_sum) + self._floor
        table.tree.fill(weights)
        table.set(beta=beta, weighted=True)
        self._total, self._squares = table.tree.total, float(np.dot(weights, weights))
        self._ess = self._total**2 / self._squares

    def ranked_hardness(self) -> np.ndarray:
        """Return what draws go by, ``(n,)``, finite: a case never seen ranks as the hardest.

        One that was seen without ever giving a finite value takes the mean of the others. All are equal where nothing
        is known.
        """
        table = self.table
        hardness = table.hardness[:, table.column].copy()
        unknown = np.isnan(hardness)
        if unknown.all():
            return np.zeros(len(table))
        if unknown.any():
            known = hardness[~unknown]
            # Half the values at a time: their sum may not fit a float.
            hardness[unknown] = np.where(table.visits[unknown] == 0, known.max(), (known / known.size).sum())
        return hardness

    # ---------------------------------------------------------------- evidence

    def probabilities(self) -> np.ndarray:
        """Return each case's probability in a single draw, ``(n,)``."""
        weights = self.table.read(lambda: self.table.tree.weights.copy())
        return weights / weights.sum()

    @property
    def stalled(self) -> tuple[int, ...]:
        """The cases that are far harder than the others and no easier for being drawn; none with ``stall_limit`` off.

        They are drawn as under uniform sampling. See :mod:`hws_nnunet.sampling.stalls` (training process).
        """
        return tuple(self._stalled)

    def effective_sample_size(self) -> float:
        """Return ``1 / sum(p ** 2)`` of :meth:`probabilities`, between 1 and n."""
        return effective_sample_size(self.probabilities())

    def check_valid(self) -> tuple[bool, str]:
        """Return whether sampler and table are consistent, and if not, why (training process)."""
        valid, reason = self.table.check_valid()
        if not valid or not self.table.weighted:
            return valid, reason
        n, settings = len(self.table), self.settings
        weights = self.table.tree.weights
        if abs(np.dot(weights, weights) - self._squares) > 1e-6 * self._squares:
            return False, f"sum of squared weights is {np.dot(weights, weights)}, tracked as {self._squares}"
        ess = self.effective_sample_size()
        if ess < settings.ess * n * (1 - _SHORTFALL) - 1e-6:
            return False, f"effective sample size {ess} is below {settings.ess * n}"
        if not 0 <= self.table.beta <= settings.beta:
            return False, f"beta in force {self.table.beta} is not in [0, {settings.beta}]"
        if settings.cap is not None and (p := self.probabilities().max()) > settings.cap / n * (1 + 2 * _DRIFT):
            return False, f"a case has probability {p}, above the cap {settings.cap / n}"
        return True, ""

    # ---------------------------------------------------------------- state

    def state_dict(self) -> dict[str, object]:
        """Return all that a resumed run needs: plain numbers, names and tensors, in copies."""
        return {
            **self.table.state_dict(),
            "settings": self.settings.model_dump(),
            "weights": torch.from_numpy(self.table.tree.weights.copy()),
            "frozen": {name: getattr(self, name) for name in _FROZEN},
        }

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Restore :meth:`state_dict`, case by case by name; draw marks start empty.

        A case that is gone is dropped with a warning; a new one starts unseen, and ranks as the hardest if draws were
        weighted already. Cells are dropped with a warning where their number or measure is another one.

        Raises:
            ValueError: for another format, or other measures; nothing is changed then.
        """
        # The host loads its checkpoints to the device that it trains on.
        state = {key: value.cpu() if isinstance(value, torch.Tensor) else value for key, value in state.items()}
        table = self.table
        table.load_state_dict(state)
        if list(state["names"]) == list(table.names) and state["settings"] == self.settings.model_dump():
            with table.writing():
                table.tree.fill(np.asarray(state["weights"]))
            for name in _FROZEN:
                setattr(self, name, state["frozen"][name])
        elif table.weighted or table.unseen == 0:
            self.refresh()


def _plain(values: Sequence | np.ndarray | torch.Tensor) -> list:
    tolist = getattr(values, "tolist", None)  # arrays' and tensors', several times cheaper than asking for their types
    return list(values) if tolist is None else tolist()
