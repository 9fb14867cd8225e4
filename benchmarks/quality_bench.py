"""What every way to write together gives, in right answers and in text, and what it costs.

(a) The demo's held-out final questions: every method, each member alone, whether any member was
right, and one member asked three times.  (b) Longer texts: share of valid words, repetition, and
log-likelihood per byte under a member that took no part.  (c) Recovery from one wrong word.  On the
development questions: how far each member can be trusted as a gate, and a sweep of thresholds.

Differences are to the member that did best on these very questions, which is chosen in hindsight,
in its favour.  A pass is one text's share of one forward pass; passes per token count the END as
one, and no prompts: a member alone takes 1.  Members that a gate did not ask catch up while they
are idle, in parts that depend on the moment, and so do the last digits of such a figure.  Errors
are standard errors over questions or texts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from benchmarks.lineups import DEMO_MODELS, Lineup
from benchmarks.quality import answers, calibration, longform, recovery, tables
from benchmarks.quality.answers import Score, best_member
from benchmarks.quality.calibration import Reading, Swept, Trust
from benchmarks.quality.estimates import mean
from benchmarks.quality.longform import Longer, Setting
from benchmarks.quality.methods import METHODS, SAMPLE, Method
from benchmarks.quality.panel import Panel, Seat
from benchmarks.quality.recovery import Forced, Recovery
from benchmarks.reporting import announce, finish, parse, parser
from benchmarks.running import Stage
from demo.evaluate import MAX_NEW_TOKENS
from demo.members import MEMBERS
from demo.questions import Question, questions
from gac.config import ThresholdConfig
from gac.vocabulary.retokenize import Rule

MODELS = "the demo's members; where present, two of ../shared/models"
DECODING = "greedy, methods called sampled at temperature 1, one member's samples at 0.7; float32"
SEEDS = "questions 0; samples 0, 1, ... by round; wrong words by place; openings 0, word list 1"
DEMO = Lineup("demo", {name: DEMO_MODELS / name for name in MEMBERS}, is_templated=True)
TRIO = tuple(DEMO.paths)
GROUPS: tuple[tuple[Rule, tuple[tuple[str, ...], ...]], ...] = (
    ("canonical", (TRIO, TRIO[:2])),
    ("append", (TRIO,)),
)
"""The members that write together under each rule."""
PLACES = (1, 2, 4)
THRESHOLDS = (0.3, 0.5, 0.7, 0.9, 0.95)
WORD_LIST_TEXTS = 24


@dataclass
class Demo:
    """What was asked of the demo's members, and all that was found."""

    final: list[Question]
    dev: list[Question]
    scores: list[Score] = field(default_factory=list)
    recovered: list[Recovery] = field(default_factory=list)
    swept: list[Swept] = field(default_factory=list)
    trusts: list[Trust] = field(default_factory=list)


def measure_answers(
    panel: Panel, methods: Sequence[Method], asked: Sequence[Question], options: Any
) -> Iterator[Score]:
    """Members and bounds under the rule that comes first, and every method."""
    if panel.rule == GROUPS[0][0]:
        alone = answers.score_alone(panel, asked)
        scores = [score for score, _ in alone.values()]
        yield from scores
        yield answers.any_right(scores)
        best = best_member(scores).members[0]
        yield answers.score_votes(panel, asked, best, alone[best][1], options.rounds)
    for names in dict(GROUPS)[panel.rule]:
        for method in methods:
            yield answers.score_together(panel, method, names, asked, options.rounds)


def measure_recovery(
    panel: Panel, methods: Sequence[Method], items: Sequence[Forced], options: Any
) -> list[Recovery]:
    """Every member and every method on all beginnings."""
    replies = recovery.Replies(panel, items)
    found = [replies.alone(name) for name in panel.names]
    return found + [replies.together(method, options.rounds) for method in methods]


def measure_trust(panel: Panel, asked: Sequence[Question]) -> dict[str, list[Reading]]:
    """What each member's confidence says of its own replies."""
    alone = answers.score_alone(panel, asked)
    return {name: calibration.read(asked, name, outcome) for name, (_, outcome) in alone.items()}


def sweep(
    panel: Panel, asked: Sequence[Question], readings: Mapping[str, Sequence[Reading]], quick: bool
) -> Iterator[Swept]:
    """Each member in turn as the gate, at every threshold, on every other question."""
    asked = asked[::2]
    prompts = [panel.prompts(question.conversation) for question in asked]
    for gate in panel.names:
        for threshold in THRESHOLDS[1:4:2] if quick else THRESHOLDS:
            config = ThresholdConfig(gate=gate, threshold=threshold)
            outcome = panel.gated(config, prompts, MAX_NEW_TOKENS)
            yield Swept(
                gate,
                threshold,
                len(asked),
                calibration.share_below(readings[gate][::2], threshold),
                outcome.cost.ensembled_share,
                mean(answers.marks(asked, outcome.texts)),
                outcome.cost.passes_per_pick,
            )


def measure_longer(
    stage: Stage, setting: Setting, methods: Sequence[Method], options: Any
) -> Iterator[Longer]:
    """Longer texts of each member alone and, under both rules, of every method."""
    texts = longform.openings(setting, options.texts, seed=0)
    known: frozenset[str] | None = None
    for rule, _ in GROUPS:
        with Seat(stage, setting.lineup, rule) as panel:
            known = known or _known_words(panel, setting, options)
            desk = longform.Desk(panel, setting, texts, known, options.tokens)
            if rule == GROUPS[0][0]:
                yield from (desk.alone(name) for name in setting.lineup.paths)
            for method in methods:
                yield desk.together(method)


def _known_words(panel: Panel, setting: Setting, options: Any) -> frozenset[str]:
    if setting.lineup.is_templated:
        return longform.demo_words()
    count = 4 if options.quick else WORD_LIST_TEXTS
    prompts = longform.prompts_for(panel, setting, longform.openings(setting, count, seed=1))
    drawn = [
        panel.alone(name, prompts, options.tokens, replace(SAMPLE, seed=1)) for name in panel.names
    ]
    return longform.own_words(text for outcome in drawn for text in outcome.texts)


def _options(arguments: Sequence[str] | None) -> Any:
    options = parser(__doc__, rounds=2, tokens=48)
    options.add_argument("--questions", type=int, default=200, help="of 393 final, of 393 others")
    options.add_argument("--texts", type=int, default=6, help="longer texts of a way to write")
    options.set_defaults(members="local")  # sooner there, and no text depends on it
    given = parse(options, arguments)
    if given.quick:
        given.questions, given.texts = min(given.questions, 12), min(given.texts, 2)
    return given


def measure_demo(stage: Stage, methods: Sequence[Method], options: Any) -> Demo:
    """Everything that is asked of the demo's members but the longer texts."""
    final, dev = (answers.sample(questions(p), options.questions, 0) for p in ("test", "dev"))
    count = max(2, options.questions // 4)
    items = [f for place in PLACES for f in recovery.forced(final, place, count, questions("test"))]
    found = Demo(final, dev)
    for rule, _ in GROUPS:
        with Seat(stage, DEMO, rule) as panel:
            found.scores += measure_answers(panel, methods, final, options)
            if rule == GROUPS[0][0]:
                found.recovered += measure_recovery(panel, methods, items, options)
                readings = measure_trust(panel, dev)
                found.swept += sweep(panel, dev, readings, options.quick)
                found.trusts += calibration.trusts(readings)
    return found


def show(demo: Demo, longer: Sequence[tuple[Setting, Sequence[Longer]]], options: Any) -> None:
    """Tables and a plot."""
    tables.show_answers(demo.scores, demo.final)
    for setting, texts in longer:
        tables.show_longer(setting, texts, options.texts, options.tokens)
    tables.show_recovery(demo.recovered)
    tables.show_gates(demo.swept, demo.trusts, len(demo.dev))
    tables.plot_answers(demo.scores, [TRIO, TRIO[:2]], options.out)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark."""
    options = _options(arguments)
    about = announce("quality", options, MODELS, DECODING, SEEDS)
    with Stage(options.members == "ray") as stage:
        demo = measure_demo(stage, METHODS, options)
        longer = [
            (s, list(measure_longer(stage, s, METHODS, options))) for s in longform.settings()
        ]
    show(demo, longer, options)
    best = best_member(demo.scores)
    return finish(
        about,
        _ratios(demo.scores),
        answers=[_score_details(score, best) for score in demo.scores],
        longer={s.lineup.name: [asdict(one) for one in texts] for s, texts in longer},
        recovery=[asdict(one) for one in demo.recovered],
        thresholds=[asdict(one) for one in demo.swept],
        calibration=[asdict(one) for one in demo.trusts],
    )


def _ratios(scores: Sequence[Score]) -> dict[str, float]:
    """Passes of all members a token, and right answers over those of the best member."""
    best = best_member(scores).right.value
    written = [(score, score.cost) for score in scores if score.cost is not None]
    ratios = {f"{s.label}: passes / token": cost.passes_per_pick for s, cost in written}
    rights = {f"{s.label}: right / of the best member": s.right.value for s in scores if best}
    return ratios | {name: right / best for name, right in rights.items() if right}


def _score_details(score: Score, best: Score) -> dict[str, Any]:
    cost = score.cost and {**asdict(score.cost), "passes_per_pick": score.cost.passes_per_pick}
    return {
        **{key: getattr(score, key) for key in ("name", "members", "rule")},
        "right": asdict(score.right),
        "over_best_member": asdict(score.over(best)),
        "cost": cost,
    }


if __name__ == "__main__":
    main()
