"""The tables and the plot of the quality benchmark."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.plots import Plot
from benchmarks.quality.answers import Score, best_member
from benchmarks.quality.calibration import Swept, Trust
from benchmarks.quality.counting import Cost
from benchmarks.quality.estimates import mean
from benchmarks.quality.longform import Longer, Setting
from benchmarks.quality.recovery import Recovered, Recovery
from benchmarks.reporting import show_table
from demo.questions import Question

COST = ("ensembled", "passes/token", "by member", "ids/token", "taken back", "drafts wasted")


def show_answers(scores: Sequence[Score], asked: Sequence[Question]) -> None:
    """One line a way to write: over all, and by topic."""
    best = best_member(scores)
    columns = ["right in per cent", "members", "rule", "all", f"- {best.members[0]}"]
    columns += COST
    rows = [
        (score.name, "+".join(score.members), score.rule, score.right.percent)
        + (score.over(best).percent, *_cost_cells(score.cost))
        for score in scores
    ]
    show_table(f"(a) Answers to {len(asked)} final questions", columns, rows)
    topics = list(dict.fromkeys(question.topic for question in asked))
    counts = {t: sum(question.topic == t for question in asked) for t in topics}
    rows = [
        (score.name, "+".join(score.members), score.rule)
        + tuple(mean(score.of_topic(asked, topic)).percent for topic in topics)
        for score in scores
    ]
    titles = [f"{topic} ({counts[topic]})" for topic in topics]
    show_table("(a) By topic", ["right in per cent", "members", "rule", *titles], rows)


def _cost_cells(cost: Cost | None) -> tuple[str, ...]:
    if cost is None:
        return ("-",) * len(COST)
    passes = ", ".join(f"{name} {n / cost.picks:.2f}" for name, n in sorted(cost.passes.items()))
    ids = sum(cost.ids.values()) / cost.picks
    back = f"{100 * cost.taken_back_share:.1f} %"
    wasted = f"{100 * cost.wasted / cost.drafted:.1f} %" if cost.drafted else "-"
    share = f"{100 * cost.ensembled_share:.1f} %"
    return share, f"{cost.passes_per_pick:.2f}", passes, f"{ids:.2f}", back, wasted


def show_longer(setting: Setting, found: Sequence[Longer], count: int, tokens: int) -> None:
    """One line a way to write."""
    columns = ["members: " + "+".join(setting.writers), "rule", "words", "valid words %"]
    columns += ["repeated 4-grams %", "nats/byte", "judge", *COST]
    rows = [
        (one.name, one.rule, one.num_words, one.valid.percent, one.repeated.percent)
        + (str(one.nats_per_byte or "-"), one.judge, *_cost_cells(one.cost))
        for one in found
    ]
    title = f"(b) {count} texts of at most {tokens} tokens: {setting.lineup.name}"
    show_table(title, columns, rows)


def show_recovery(found: Sequence[Recovery]) -> None:
    """One line a way to write; three columns a place."""
    columns = ["right in per cent after"]
    for at in found[0].at:
        name = f"word {at.place} (n={at.count})"
        columns += [f"{name} right", "wrong", "difference"]
    columns += COST
    rows = [
        (one.name, *(c for at in one.at for c in _recovered_cells(at)), *_cost_cells(one.cost))
        for one in found
    ]
    show_table("(c) Recovery from one wrong word, canonical, all members", columns, rows)


def _recovered_cells(at: Recovered) -> tuple[str, ...]:
    return at.after_right.percent, at.after_wrong.percent, at.difference.percent


def show_gates(swept: Sequence[Swept], found: Sequence[Trust], count: int) -> None:
    """The sweep and the calibration errors."""
    columns = ["gate", "threshold", "would ask at", "ensembled"]
    rows = [
        (one.gate, one.threshold, f"{100 * one.foretold:.1f} %", f"{100 * one.ensembled:.1f} %")
        + (one.right.percent, f"{one.passes:.2f}")
        for one in swept
    ]
    show_table(
        f"Thresholds, all members, {swept[0].count} development questions",
        [*columns, "right %", "passes/token"],
        rows,
    )
    topics = list(found[0].by_topic)
    cells = [
        (one.gate, one.of, *(f"{one.by_topic[topic]:.3f}" for topic in topics)) for one in found
    ]
    show_table(
        f"Expected calibration error, 10 bins, {count} development questions",
        ["gate", "of its", *topics],
        cells,
    )


def plot_answers(scores: Sequence[Score], groups: Sequence[tuple[str, ...]], out: Path) -> None:
    """Right answers against passes, a panel a group of members, canonical re-tokenisation."""
    labels = ("forward passes of all members a token", "per cent right, ± 1 standard error")
    with Plot(out / "quality.png", len(groups), width=9.0) as plot:
        for place, group in enumerate(groups):
            points = {
                score.name if score.members == group else f"{score.members[0]}: {score.name}": (
                    score.cost.passes_per_pick,
                    100 * score.right.value,
                    100 * score.right.error,
                )
                for score in scores
                if score.cost is not None and _belongs(score, group)
            }
            title = f"demo questions, {'+'.join(group)}: accuracy against cost"
            plot.crosses(place, title, labels, points)


def _belongs(score: Score, group: tuple[str, ...]) -> bool:
    own = score.rule == "own" and set(score.members) <= set(group)
    return own or (score.members == group and score.rule == "canonical")
