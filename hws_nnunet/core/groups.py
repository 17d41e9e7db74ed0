"""Hardness pooled over groups of cases that belong together, such as a diagnosis or a scanner.

Group distributionally robust optimisation (Sagawa et al., arXiv 1911.08731) tilts draws towards groups of high mean
loss. A group's mean is far less noisy than a single case's tracked loss, and blind to what is hard within it. So each
case is pulled towards its group's mean G by the *pooling* a:

    pooled S_i = S_i + a (G - S_i)

With a = 1 all of a group are equally hard, which is group DRO under the groups' own shares. The best prediction of a
case's next loss has a = 1 - r, with r the :mod:`reliability <hws_nnunet.core.reliability>` of the differences
between the cases of one group: what the next losses bear out of them stays.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hws_nnunet.core.reliability import Reliability

_MOVED = 0.05  # of a case's exponent: beyond it all weights have to be computed anew


class Groups:
    """Means of tracked losses over groups of cases.

    Args:
        of_cases: name of each case's group, ``(n,)``; empty for a case of none, which is not pooled with others.
        pooling: a, 0 to 1; None for what the losses say.

    Attributes:
        names: the groups', sorted; ``(none)`` are the cases of none.
        index: ``(n,)``, each case's place among them.
        within: the reliability of differences within groups.
    """

    def __init__(self, of_cases: Sequence[str], pooling: float | None):
        place = {name: i for i, name in enumerate(sorted(set(of_cases)))}
        self._none = place.get("", -1)
        self.names = tuple(name or "(none)" for name in place)
        self.index = np.array([place[name] for name in of_cases], dtype=np.int64)
        self._of = self.index.tolist()
        self._given = pooling
        self.within = Reliability()
        self._sums, self._counts = [0.0] * len(self.names), [0] * len(self.names)
        self._frozen, self._pooling = [0.0] * len(self.names), self.pooling

    @property
    def pooling(self) -> float:
        """The pooling a, 0 to 1, as given or by what is known now."""
        return 1.0 - self.within.value if self._given is None else self._given

    def count(self, offset: np.ndarray) -> None:
        """Compute all means anew, from ``(n,)`` tracked losses, NaN where nothing is known."""
        finite = ~np.isnan(offset)
        groups = len(self.names)
        self._sums = np.bincount(self.index[finite], offset[finite], groups).tolist()
        self._counts = np.bincount(self.index[finite], minlength=groups).tolist()

    def add(self, case: int, old: float, new: float) -> None:
        """Move a group's mean with one of its cases, from ``old`` (NaN: nothing was known) to ``new``."""
        group = self._of[case]
        if old == old:
            self._sums[group] += new - old
        else:
            self._sums[group] += new
            self._counts[group] += 1

    def learn(self, case: int, old: float, value: float) -> float:
        """Take in a case's tracked loss and the loss that came next; return the pooled tracked loss."""
        group = self._of[case]
        if group == self._none:
            return old
        count = self._counts[group]
        mean = self._sums[group] / count
        if count > 1:  # a group of one has no differences within it
            self.within.add(old - mean, value - mean)
        return old + self._pooling * (mean - old)

    def learn_all(self, cases: np.ndarray, old: np.ndarray, new: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Take in many cases, each once, as :meth:`learn` and :meth:`add` do one after the other.

        Args:
            cases: ``(B,)`` ids.
            old: ``(B,)`` tracked losses before, NaN where nothing was known.
            new: ``(B,)`` tracked losses after.
            values: ``(B,)`` the losses.

        Returns:
            pooled values of ``old``, ``(B,)``.
        """
        groups, finite = self.index[cases], ~np.isnan(old)
        order = np.argsort(groups, kind="stable")
        of, begins = np.unique(groups[order], return_index=True)
        sums, counts = np.array([self._sums[i] for i in of]), np.array([self._counts[i] for i in of])
        place = np.repeat(np.arange(len(of)), np.diff([*begins, len(cases)]))

        def running(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            """Return sums within each group: before each case, in the cases' order, and of all."""
            after = np.cumsum(values[order])
            before = after - values[order]
            before -= before[begins][place]
            out = np.empty_like(before)
            out[order] = before
            return out, np.add.reduceat(values[order], begins)

        moved, total = running(np.where(finite, new - old, new))
        more, all_more = running((~finite).astype(np.int64))
        at = np.empty_like(place)
        at[order] = place
        count = counts[at] + more
        mean = (sums[at] + moved) / np.maximum(count, 1)
        pooled = groups != self._none
        several = finite & (count > 1) & pooled  # a group of one has no differences within it
        self.within.add_all((old - mean)[several], (values - mean)[several])
        for i, group in enumerate(of.tolist()):
            self._sums[group] += float(total[i])
            self._counts[group] += int(all_more[i])
        return np.where(pooled, old + self._pooling * (mean - old), old)

    def freeze(self) -> None:
        """Hold means and pooling as they are now, for :meth:`pooled` and :meth:`pooled_all`, until the next call."""
        self._frozen, self._pooling = self._means(), self.pooling

    def _means(self) -> list[float]:
        means = [total / count if count else 0.0 for total, count in zip(self._sums, self._counts, strict=True)]
        return means if self._none < 0 else [0.0, *means[1:]]  # an empty name is sorted first

    def pooled(self, case: int, offset: float) -> float:
        """Return the pooled value of a tracked loss."""
        group = self._of[case]
        return offset if group == self._none else offset + self._pooling * (self._frozen[group] - offset)

    def pooled_all(self, cases: np.ndarray | slice, offset: np.ndarray) -> np.ndarray:
        """Return the pooled values of ``(B,)`` tracked losses of ``cases``, NaN where nothing is known."""
        groups = self.index[cases]
        pooled = offset + self._pooling * (np.array(self._frozen)[groups] - offset)
        return pooled if self._none < 0 else np.where(groups == self._none, offset, pooled)

    def have_moved(self, beta: float) -> bool:
        """Return whether what is frozen is no longer good enough at a beta."""
        moved = max(abs(now - then) for now, then in zip(self._means(), self._frozen, strict=True))
        return beta * self._pooling * moved > _MOVED or abs(self.pooling - self._pooling) > _MOVED
