"""The quality benchmark: its figures against examples worked by hand, and one quick run."""

import json
import math
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from benchmarks import quality_bench
from benchmarks.lineups import DEMO_MODELS
from benchmarks.quality import answers, calibration, longform, recovery
from benchmarks.quality.answers import Score
from benchmarks.quality.counting import (
    Asked,
    Cost,
    CountedMember,
    Ledger,
    confidences,
    num_passes,
    taken_back,
)
from benchmarks.quality.estimates import Estimate, mean, paired, ratio
from benchmarks.quality.methods import METHODS, Method, strategy_for
from benchmarks.running import Stage
from demo.evaluate import is_right
from demo.members import MEMBERS
from demo.questions import Question, questions
from gac.config import EveryStepConfig, ThresholdConfig
from gac.config.catalogue import AGGREGATIONS, STRATEGIES
from gac.core import Answer, Entries, Extend
from gac.members.member import Reply
from gac.model.templates import MemberTokenizer, load_member_tokenizer

NAMES = ("ada", "bora", "cleo")


def entries(*probs: float) -> Entries:
    return Entries(np.arange(len(probs), dtype=np.int32), np.array(probs, dtype=np.float32))


# Errors


def test_the_error_of_marks_is_that_of_a_proportion() -> None:
    found = mean([1.0, 1.0, 1.0, 0.0])
    assert found.value == 0.75
    assert found.error == pytest.approx(math.sqrt(0.75 * 0.25 / 3))


def test_what_both_find_hard_cancels_out_of_a_paired_difference() -> None:
    ours, theirs = [1.0, 0.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0]
    found = paired(ours, theirs)  # differences 0, 0, 1, 1: variance 1/3 of four
    assert found.value == 0.5
    assert found.error == pytest.approx(math.sqrt((1 / 3) / 4))
    assert paired(ours, ours) == Estimate(0.0, 0.0)


def test_a_ratio_counts_texts_not_words() -> None:
    found = ratio([9, 1], [10, 10])  # off by 4 and -4: sqrt((16 + 16) * 2) / 20
    assert found.value == 0.5
    assert found.error == pytest.approx(8 / 20)
    assert ratio([5, 5], [10, 10]).error == 0.0
    assert math.isnan(ratio([], []).value)
    assert math.isnan(ratio([1], [2]).error)


# Calibration


def test_expected_error_is_summed_over_bins_closed_above() -> None:
    judged = [(0.1, False), (0.15, True), (0.95, True), (1.0, False)]
    # Bins: 0.1 alone | 0.15 alone | 0.95 and 1.0: |1 - 1.95|.
    assert calibration.expected_error(judged) == pytest.approx((0.1 + 0.85 + 0.95) / 4)
    assert calibration.expected_error([(0.12, True), (0.18, False)]) == pytest.approx(0.7 / 2)
    assert calibration.expected_error([(0.6, True), (0.6, False)], bins=1) == pytest.approx(0.1)
    assert calibration.expected_error([(1.0, True), (0.0, False)]) == 0.0


def test_tokens_are_judged_up_to_the_first_that_is_wrong() -> None:
    right = b"It is red."
    assert calibration.token_rights(right, [b"It", b" is", b" r", b"ed."], True) == [True] * 5
    assert calibration.token_rights(right, [b"It", b" is", b" blue", b"."], True) == [
        True,
        True,
        False,
    ]
    assert calibration.token_rights(right, [b"It"], True) == [True, False]
    assert calibration.token_rights(right, [b"It"], False) == [True]


def test_trust_is_per_topic_and_a_gate_asks_where_it_is_not_above() -> None:
    readings = [
        calibration.Reading("a", [0.5, 0.9], [(0.5, True), (0.9, False)], (0.45, False)),
        calibration.Reading("b", [1.0], [(1.0, True)], (1.0, True)),
    ]
    token, answer = calibration.trusts({"ada": readings})
    assert token.by_topic == pytest.approx({"a": 1.4 / 2, "b": 0.0, "all": 1.4 / 3})
    assert answer.by_topic == pytest.approx({"a": 0.45, "b": 0.0, "all": 0.45 / 2})
    assert calibration.share_below(readings, 0.5) == pytest.approx(1 / 3)
    assert calibration.share_below(readings, 0.4) == 0.0


# Longer texts


def test_repetition_is_the_share_of_runs_met_before() -> None:
    assert longform.repeated("One two three four. One two three four!") == (1, 5)
    assert longform.repeated("a a a a a a") == (2, 3)
    assert longform.repeated("one two three") == (0, 0)


def test_words_have_no_marks_digits_or_capitals() -> None:
    assert longform.words("The cat's 2 Häuser, fluffydressed_") == [
        "the",
        "cat",
        "s",
        "häuser",
        "fluffydressed",
    ]
    assert longform.own_words(["The cat sat.", "the mat", "A cat"]) == {"the", "cat"}
    assert {"once", "norway", "castle"} <= longform.demo_words()
    assert "fluffydressed" not in longform.demo_words()


def test_openings_differ_and_are_the_same_every_time() -> None:
    for setting in longform.settings():
        found = longform.openings(setting, 8, seed=0)
        assert len(set(found)) == 8
        assert found == longform.openings(setting, 8, seed=0)


# Counting


def test_passes_are_counted_behind_the_prompt() -> None:
    first, rest = Asked(0, 6, None), Asked(6, 4, None)
    assert num_passes([first, rest], prompt=10) == 0
    row, again = Asked(10, 0, 10, confidences={10: 0.5}), Asked(10, 0, 10)
    assert num_passes([first, rest, row], prompt=10) == 1
    assert num_passes([first, rest, row, again], prompt=10) == 1  # more entries of the same row
    assert num_passes([row, Asked(10, 3, None)], prompt=10) == 2  # catching up
    assert num_passes([Asked(10, 1, 11, written=5)], prompt=10) == 6
    assert num_passes([Asked(10, 1, 11, confidences={11: 0.5}), Asked(10, 2, 11)], prompt=10) == 2


def test_ids_are_taken_back_as_far_as_the_next_message_cuts_them() -> None:
    draft = Asked(10, 1, 11, written=5)  # holds 16
    assert taken_back([draft, Asked(16, 1, 17)], prompt=8) == 0
    assert taken_back([draft, Asked(13, 1, 14)], prompt=8) == 3
    assert taken_back([draft, Asked(4, 8, 12)], prompt=8) == 8  # evicted: not the prompt
    assert taken_back([draft], prompt=8) == 0
    assert taken_back([draft, Asked(14, 1, 15, written=1), Asked(15, 1, 16)], prompt=8) == 3


def test_what_goes_to_a_member_is_noted_by_text_and_place() -> None:
    class Echo:
        name, facts = "echo", None

        def extend(self, batch: list[Extend]) -> object:
            future: Future[Reply] = Future()
            rows = (entries(0.75, 0.25), entries(0.5, 0.5))
            future.set_result(Reply([Answer(rows, (7,)) for _ in batch]))
            return future

        def release(self, sequences: object) -> None: ...
        def when_lost(self, tell: object) -> None: ...
        def close(self) -> None: ...

    ledger = Ledger()
    member = CountedMember(Echo(), ledger)  # type: ignore[arg-type]
    member.extend([Extend(2, 0, (1, 2, 3), (3,)), Extend(1, 0, (1, 2), (1, 2), lead=True)])
    first, second = ledger.take()
    assert ledger.take() == []
    [asked] = second["echo"]
    assert (asked.end, asked.confidences) == (4, {3: 0.75, 4: 0.5})
    assert first["echo"][0].confidences == {1: 0.75, 3: 0.5}
    assert confidences(second["echo"]) == [0.75, 0.5]
    cost = Cost(picks=2)
    cost.add(second, {"echo": 3})
    assert (cost.passes, cost.ids, cost.taken_back) == ({"echo": 2}, {"echo": 1}, {"echo": 0})
    assert cost.with_work_of([cost]).passes_per_pick == 2.0


# Answers


def test_the_majority_wins_and_without_one_the_first() -> None:
    assert answers.majority(["A cat.", "a dog", "A dog!"]) == "a dog"
    assert answers.majority(["A cat.", "a dog", "a cat"]) == "A cat."
    assert answers.majority(["one", "two", "three"]) == "one"


def test_scores_compare_question_by_question() -> None:
    one = Score("alone", ("ada",), "own", [1.0, 0.0, 1.0])
    other = Score("alone", ("bora",), "own", [0.0, 1.0, 0.0])
    assert answers.best_member([other, one]) is one
    assert answers.any_right([one, other]).marks == [1.0, 1.0, 1.0]
    assert one.over(other).value == pytest.approx(1 / 3)
    assert len(answers.sample(questions("dev"), 20, 0)) == 20
    assert answers.sample(questions("dev"), 20, 0) == answers.sample(questions("dev"), 20, 0)
    assert answers.sample(questions("dev"), 10**6, 0) == questions("dev")


@pytest.mark.parametrize("part", ["dev", "test"])
def test_every_question_knows_its_right_reply(part: str) -> None:
    assert all(is_right(question, question.reply) for question in questions(part))  # type: ignore[arg-type]


# Methods


def test_methods_are_parsed_as_yaml_would_be_and_none_is_left_out() -> None:
    by_name = {method.name: method for method in METHODS}
    assert len(by_name) == len(METHODS)
    assert strategy_for(by_name["every step"], NAMES) == EveryStepConfig()
    gated = strategy_for(by_name["threshold 0.5, replace"], NAMES)
    assert gated == ThresholdConfig(gate="ada", threshold=0.5, below="replace")
    last = Method("last", {"name": "threshold", "gate": "{last}", "threshold": 0.1})
    assert strategy_for(last, NAMES) == ThresholdConfig(gate="cleo", threshold=0.1)
    parsed = [strategy_for(method, NAMES) for method in METHODS]
    assert {config.name for config in parsed} == set(STRATEGIES)
    assert {config.aggregation.name for config in parsed} == set(AGGREGATIONS)


# Recovery


def question(topic: str, reply: str, accepted: str) -> Question:
    return Question(topic, [{"role": "user", "content": "?"}], (accepted,), reply)


def test_one_word_in_front_of_the_answer_is_another_replys() -> None:
    capital = question("geo", "The capital of Norway is Oslo.", "Oslo")
    continent = question("geo", "Norway is in Europe.", "Europe")
    colour = question("things", "Grass is green.", "green")
    asked = [capital, continent, colour]
    assert recovery.words_of(capital.reply)[:3] == ["The", " capital", " of"]

    def at(place: int) -> list[tuple[str, str]]:
        return [(i.right, i.wrong) for i in recovery.forced(asked, place, 9, asked)]

    # At the third word one reply has its answer next; the colours have nobody to take from.
    assert at(1) == [("The", "Norway"), ("Norway", "The")]
    assert at(2) == [("The capital", "The is"), ("Norway is", "Norway capital")]
    assert at(3) == [("The capital of", "The capital in"), ("Norway is in", "Norway is of")]
    assert at(4) == []
    assert len(recovery.forced(asked, 1, 1, asked)) == 1


def test_no_forced_beginning_gives_the_answer_away() -> None:
    final = questions("test")
    for place in quality_bench.PLACES:
        found = recovery.forced(final, place, 1000, final)
        assert len(found) > 200
        for item in found:
            assert item.question.reply.startswith(item.right)
            assert item.wrong != item.right
            assert not is_right(item.question, item.right)
            assert not is_right(item.question, item.wrong)


@pytest.fixture(scope="module", params=NAMES)
def tokenizer(request: pytest.FixtureRequest) -> MemberTokenizer:
    return load_member_tokenizer(request.param, str(MEMBERS[request.param].folder))


@pytest.mark.parametrize("rule", ["canonical", "append"])
def test_a_begun_reply_is_what_the_template_makes_of_it(
    tokenizer: MemberTokenizer, rule: str
) -> None:
    messages = [{"role": "user", "content": "What is the capital of Norway?"}]
    prompt = tokenizer.prompt(messages, apply_chat_template=True)
    rendered = tokenizer.hf_tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )
    for reply in ("The", "The capital of Egypt", "6 plus 9 is"):
        found = recovery.begun(tokenizer, rule, prompt, reply)  # type: ignore[arg-type]
        assert not found.lead
        assert found.ids[: len(prompt.ids)] == prompt.ids
        begun = tokenizer.vocabulary.spell(found.ids[len(prompt.ids) :])
        assert begun == (b" " if prompt.lead else b"") + reply.encode()
        if rule == "canonical":
            assert list(found.ids) == tokenizer.prompts.encode_rendered(rendered + reply)


# All of it


def test_a_member_alone_takes_one_pass_a_token_and_every_step_one_of_each() -> None:
    lineup = quality_bench.DEMO
    asked = questions("dev")[:3]
    with Stage(on_ray=False) as stage, quality_bench.Seat(stage, lineup, "canonical") as panel:
        prompts = [panel.prompts(one.conversation) for one in asked]
        alone = panel.alone("bora", prompts, 24)
        method = Method("every step", "every_step")
        together = panel.together(method, NAMES[:2], prompts, 24, seed=0)
        never, always = (
            panel.gated(ThresholdConfig(gate="bora", threshold=t), prompts, 24) for t in (0.0, 1.0)
        )
    assert alone.cost.passes_per_pick == 1.0
    assert alone.cost.picks == sum(map(len, alone.pieces)) + len(asked)
    assert together.cost.passes_per_pick == 2.0
    assert together.cost.ensembled_share == 1.0
    assert (never.cost.ensembled_share, never.texts) == (0.0, alone.texts)
    assert (always.cost.ensembled_share, always.cost.passes_per_pick) == (1.0, 3.0)
    for text, pieces, of_text in zip(alone.texts, alone.pieces, alone.asked, strict=True):
        assert text.encode() == b"".join(pieces)
        sure = confidences(of_text["bora"])
        assert len(sure) == len(pieces) + 1
        assert all(0.0 < one <= 1.0 for one in sure)


def test_a_judge_reads_as_its_own_model_does() -> None:
    with Stage(on_ray=False) as stage:
        with quality_bench.Seat(stage, quality_bench.DEMO, "canonical") as panel:
            judge = longform.Judge(panel, "ada")
            prompt = panel.prompts([{"role": "user", "content": "Tell me a story."}])["ada"]
            found = judge.log_likelihood(prompt, "Once there was a fox.")
            own = panel.tokenizers["ada"].prompts.encode_text("Once there was a fox.")
    model = AutoModelForCausalLM.from_pretrained(MEMBERS["ada"].folder).eval()
    labels = torch.tensor([[-100] * len(prompt.ids) + own])
    with torch.inference_mode():
        loss = model(torch.tensor([[*prompt.ids, *own]]), labels=labels).loss
    assert found == pytest.approx(-float(loss) * len(own), rel=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_quick_run_ends_with_a_line_of_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert all((DEMO_MODELS / name).exists() for name in NAMES)
    quality_bench.main(["--quick", "--members", "local", "--out", str(tmp_path)])
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["benchmark"] == "quality"
    assert {"hardware", "models", "seeds", "rounds"} <= set(last["conditions"])
    assert all(math.isfinite(ratio) and ratio > 0 for ratio in last["ratios"].values())
    assert [path.suffix for path in tmp_path.iterdir()] == [".png"]
    alone = {s["members"][0]: s for s in last["answers"] if s["name"] == "alone"}
    assert set(alone) == set(NAMES)
    assert all(score["cost"]["passes_per_pick"] == 1.0 for score in alone.values())
    rules = {score["rule"] for score in last["answers"]}
    assert rules == {"own", "canonical", "append"}
    assert [one["place"] for one in last["recovery"][0]["at"]] == list(quality_bench.PLACES)
    assert {one["gate"] for one in last["thresholds"]} == set(NAMES)
    assert {(one["gate"], one["of"]) for one in last["calibration"]} == {
        (name, what) for name in NAMES for what in ("token", "answer")
    }
    assert "demo" in last["longer"]
