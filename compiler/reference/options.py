"""Asking one option after the other."""

from __future__ import annotations

from collections.abc import Callable

from ..intervals import IntervalSet
from ..rules.model import Match, Option
from .answers import Answer, conjunction, known, opposite

MAYBE = Answer.MAYBE


def first_word(option: Option) -> str:
    if option.words:
        return option.words[0].text
    return option.value if isinstance(option.value, str) else ""


def every(match: Match, answer: Callable[[Option], Answer]) -> Answer:
    """All options must hold, each turned round where it says `!`."""
    return conjunction(opposite(answer(o)) if o.negated else answer(o) for o in match.options)


def within(option: Option, value: int) -> Answer:
    return known(value in option.value) if isinstance(option.value, IntervalSet) else MAYBE


def equal(option: Option, value: int) -> Answer:
    if isinstance(option.value, IntervalSet):
        return known(value in option.value)
    return known(value == option.value) if isinstance(option.value, int) else MAYBE
