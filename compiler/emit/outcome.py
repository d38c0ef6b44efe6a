"""What a decision answers, as the number that the program returns: the one place for both engines.

0 passes. A drop is its counter's slot + 1, and what it depends on above: see templates/types.c.j2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..decisions.model import Allowance, Cause, Drop, Outcome

Budgets = tuple[tuple[Allowance, ...], ...]

PASS = 0
LOCAL = 1 << 31  # the drop is in INPUT: only for packets delivered here
BUDGET_AT = 24  # drop only beyond the budget of this number


@dataclass(frozen=True, slots=True)
class Coder:
    """`slots`: of each rule that drops. `budgets`: by number - 1."""

    slots: Mapping[Cause, int]
    budgets: Budgets = ()

    def budget(self, then: Drop) -> int:
        """0: none."""
        return self.budgets.index(then.budget) + 1 if then.budget else 0

    def flags(self, then: Outcome) -> int:
        """What stands above the slot."""
        if not isinstance(then, Drop):
            return PASS
        return (LOCAL if then.local else 0) | self.budget(then) << BUDGET_AT

    def code(self, then: Outcome, cause: Cause | None = None) -> int:
        """`cause`: the rule of a merged drop."""
        if not isinstance(then, Drop):
            return PASS
        return self.flags(then) | self.slots[cause or then.cause] + 1

    def in_c(self, then: Outcome, slot: int | None = None) -> str:
        """`code` in the program's own words."""
        if not isinstance(then, Drop):
            return "XT_PASS"
        number = self.slots[then.cause] if slot is None else slot
        budget = f"XT_BUDGET({self.budget(then)}) | " if then.budget else ""
        return f"{'XT_LOCAL | ' if then.local else ''}{budget}XT_DROP({number})"
