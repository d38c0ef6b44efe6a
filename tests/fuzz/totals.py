"""What has been tried, for people: one line on the way, the table of docs/fuzz.md at the end."""

from __future__ import annotations

from fuzz.case import Counts


def line(counts: Counts) -> str:
    return (
        f"{counts.rulesets:,} rulesets, {counts.frames:,} frames, {counts.drops:,} drops, "
        f"{counts.broken_texts:,} broken texts, {counts.disagreements:,} disagreements"
    )


def table(counts: Counts, seconds: float) -> str:
    rows = [(name, value) for name, value in _rows(counts, seconds) if value]
    width, other = (max(len(row[i]) for row in rows) for i in (0, 1))
    lines = [f"| {name:<{width}} | {value:<{other}} |" for name, value in [("", ""), *rows]]
    lines.insert(1, f"|{'-' * (width + 2)}|{'-' * (other + 2)}|")
    return "\n".join(lines)


def _rows(c: Counts, seconds: float) -> list[tuple[str, str]]:
    refused = f" ({c.refused_by_iptables:,} more were refused by iptables)" if c.refused_by_iptables else ""
    texts = f"{c.broken_texts:,}, {c.broken_texts_refused:,}" if c.broken_texts else ""
    unsteady = f"{c.unsteady_without_any_program:,}" if c.unsteady_without_any_program else ""
    return [
        ("seconds", f"{seconds:,.0f}"),
        ("rulesets, their rules", f"{c.rulesets:,}, {c.rules:,}{refused}"),
        ("frames, packets that the host sent", f"{c.frames:,}, {c.packets_of_the_host:,}"),
        ("of these came through INPUT", f"{c.came_through_input:,}"),
        (
            "rulesets with a real program",
            f"{c.real_programs:,}; the plan in its place: {c.rulesets - c.real_programs:,}",
        ),
        ("decisions, of these reached", f"{c.decisions:,}, {c.decisions_reached:,}"),
        ("dropping rules, of these reached", f"{c.dropping_rules:,}, {c.dropping_rules_reached:,}"),
        (
            "drops, of these after a look at conntrack",
            f"{c.drops:,}, {c.drops_after_a_look_at_conntrack:,}",
        ),
        ("broken texts, of these refused", texts),
        ("differences between the hosts without any program", unsteady),
        ("disagreements", f"{c.disagreements:,}"),
    ]
