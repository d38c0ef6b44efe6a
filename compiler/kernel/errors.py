"""The one error that is a defect of this project, not of the user's input or host."""

from __future__ import annotations

from ..source import UserError


def no_memory(what: str, said: str) -> UserError:
    return UserError(
        f"the kernel refuses the memory for {what}: {said}",
        "a limit of this service or container (MemoryMax=), or the machine's memory; fewer rules need less",
    )


class KernelError(Exception):
    """The compiler, the verifier or the kernel refused what we made. `log` is the end of what it said."""

    def __init__(self, message: str, log: str = "", hint: str = "") -> None:
        self.message, self.log, self.hint = message, log, hint
        parts = [message]
        if log:
            parts.append("\n".join(f"    {line}" for line in log.splitlines()))
        if hint:
            parts.append(f"    hint: {hint}")
        super().__init__("\n".join(parts))


class TooComplex(KernelError):
    """The verifier, or the compiler, gave up on the size of the program: a smaller one may do."""


def last_lines(text: str, count: int = 25) -> str:
    """The end of a log, which is where compilers and the verifier say what is wrong."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) <= count:
        return "\n".join(lines)
    return "\n".join([f"... {len(lines) - count} lines before", *lines[-count:]])
