"""Gathers what a check says, without growing with what it found."""

from collections.abc import Iterable, Sequence

from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.proof.model import MOST_EVIDENCE
from spoqplus_backup.core.proof.scene import CheckFailed


class Evidence:
    """The first sentences, and how many more there were."""

    def __init__(self, notices: Iterable[Notice] = ()) -> None:
        self._first: list[Notice] = []
        self.count = 0
        for item in notices:
            self.add(item)

    def add(self, item: Notice) -> None:
        """Take one more."""
        self.count += 1
        if self.count <= MOST_EVIDENCE:
            self._first.append(item)

    @property
    def notices(self) -> tuple[Notice, ...]:
        """At most MOST_EVIDENCE, the last of which then says how many are left out."""
        if self.count <= MOST_EVIDENCE:
            return tuple(self._first)
        kept = self._first[: MOST_EVIDENCE - 1]
        return (*kept, notice("check.more", "And {count} more.", count=self.count - len(kept)))

    def judge(self, good: Sequence[Notice]) -> Sequence[Notice]:
        """`good` when these, which are faults, are none.

        Raises:
            CheckFailed: with the faults.
        """
        if self.count:
            raise CheckFailed(*self.notices)
        return good
