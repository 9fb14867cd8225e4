"""lm-evaluation-harness, unchanged, against the real server; oracles are /api/generate and HF."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.support.client import generate
from tests.support.harness import TASKS, Outcome, gac_evaluate, lm_eval
from tests.support.openai_client import TEXT, ok
from tests.support.server_process import ROOT, ServerProcess, demo_config

pytestmark = pytest.mark.slow

MEMBERS = ("ada", "bora", "cleo")
MODELS = ROOT / "demo" / "models"
SOME = ("--limit", "60")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    server = ServerProcess(demo_config(folder, MEMBERS, ray={"enabled": False}))
    server.wait_for("ready: ")
    yield server.url
    server.close()


def written(url: str, samples: list[dict[str, Any]], is_chat: bool, stop: list[str]) -> list[str]:
    """What /api/generate writes for the documents of these samples, in as many new tokens."""
    field = "question" if is_chat else "beginning"
    prompts = [[{"role": "user", "content": sample["doc"][field]}] for sample in samples]
    texts: list[str] = []
    for start in range(0, len(prompts), 64):
        body = {
            "messages_list": prompts[start : start + 64],
            "apply_chat_template": is_chat,
            "max_new_tokens": 24 if is_chat else 16,
            "until": stop,
        }
        texts += generate(url, body, timeout_s=120.0).body["response"]
    return texts


def responses(outcome: Outcome, task: str) -> list[str]:
    return [sample["resps"][0][0] for sample in outcome.samples[task]]


def assert_scored_as_marked(outcome: Outcome, task: str, answers: list[str], field: str) -> None:
    """The harness' exact_match is the share of these answers that are right."""
    right = [
        answer.strip() == sample["doc"][field]
        for answer, sample in zip(answers, outcome.samples[task], strict=True)
    ]
    [share] = [
        value
        for name, value in outcome.results["results"][task].items()
        if name.startswith("exact_match,")
    ]
    print(f"{task}: {sum(right)} of {len(right)} right")
    assert share == pytest.approx(sum(right) / len(right))
    assert 0.5 < share < 1.0 and len(right) == 60


@pytest.fixture(scope="module")
def completed(url: str, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Both kinds of tasks in one run; prompts are ids of the tokenizer that the server tells of."""
    outcome = lm_eval(url, "demo_cloze,demo_choices", tmp_path_factory.mktemp("completed"), *SOME)
    assert "Using remote tokenizer backend" in outcome.output
    assert "API request failed" not in outcome.output
    return outcome


def test_generated_text_is_that_of_the_original_endpoint(url: str, completed: Outcome) -> None:
    answers = written(url, completed.samples["demo_cloze"], False, [".", "\n"])
    assert responses(completed, "demo_cloze") == answers
    assert_scored_as_marked(completed, "demo_cloze", answers, "answer")


def test_chat_is_that_of_the_original_endpoint(url: str, tmp_path: Path) -> None:
    outcome = lm_eval(url, "demo_questions", tmp_path, "--apply_chat_template", *SOME)
    answers = written(url, outcome.samples["demo_questions"], True, ["\n"])
    assert responses(outcome, "demo_questions") == answers
    assert_scored_as_marked(outcome, "demo_questions", answers, "reply")


def scores(outcome: Outcome) -> dict[tuple[str, str], tuple[float, bool]]:
    """The log-likelihood of each choice, and whether it is the greedy one, by text."""
    return {
        (given["arg_0"], given["arg_1"]): (float(value[0][0]), str(value[0][1]) == "True")
        for sample in outcome.samples["demo_choices"]
        for given, value in zip(sample["arguments"].values(), sample["resps"], strict=True)
    }


def assert_best_choice_counts(outcome: Outcome) -> None:
    """acc is the share of documents whose right choice has the largest log-likelihood."""
    right = []
    for sample in outcome.samples["demo_choices"]:
        values = [float(value[0][0]) for value in sample["resps"]]
        right.append(values.index(max(values)) == sample["doc"]["gold"])
    share = sum(right) / len(right)
    print(f"demo_choices: {sum(right)} of {len(right)} right")
    assert outcome.results["results"]["demo_choices"]["acc,none"] == pytest.approx(share)
    assert 0.5 < share < 1.0 and len(right) == 60


def parted(tokenizer: Any, context: str, continuation: str) -> tuple[list[int], int]:
    """The ids of both, and how many are the context's, as the harness counts them."""
    ids = tokenizer(context + continuation, add_special_tokens=False).input_ids
    return ids, len(tokenizer(context, add_special_tokens=False).input_ids)


def test_loglikelihoods_of_the_ensemble_are_its_forced_scores(url: str, completed: Outcome) -> None:
    """Asked for directly, one at a time, with the likeliest tokens beside them."""
    assert_best_choice_counts(completed)
    tokenizer = AutoTokenizer.from_pretrained(MODELS / "ada")
    found = scores(completed)
    for context, continuation in list(found)[::25]:
        ids, num_context = parted(tokenizer, context, continuation)
        body = {"model": "gac", "prompt": ids, "max_tokens": 0, "echo": True, "logprobs": 2}
        [choice] = ok(url, TEXT, body)["choices"]
        values = choice["logprobs"]["token_logprobs"]
        assert len(values) == len(ids) and values[0] is None
        best = [max(top.values()) for top in choice["logprobs"]["top_logprobs"][num_context:]]
        value, is_greedy = found[context, continuation]
        # The harness asks for several at once: other batches round differently in float32.
        assert value == pytest.approx(sum(values[num_context:]), abs=1e-4)
        assert is_greedy == (values[num_context:] == best)


@pytest.mark.parametrize("name", MEMBERS)
def test_loglikelihoods_of_a_member_are_those_of_its_model(
    url: str, name: str, tmp_path: Path
) -> None:
    """The configuration names each member's own tokenizer, whose ids are sent."""
    config = demo_config(tmp_path, MEMBERS)
    flags = ["--url", url, "--model", f"gac/{name}", "--limit", "60"]
    outcome = gac_evaluate(tmp_path / "out", config, "--tasks", "demo_choices", *flags)
    tokenizer = AutoTokenizer.from_pretrained(MODELS / name)
    model = AutoModelForCausalLM.from_pretrained(MODELS / name).eval()
    found = scores(outcome)
    assert len(found) > 200
    for (context, continuation), (value, is_greedy) in found.items():
        ids, num_context = parted(tokenizer, context, continuation)
        with torch.no_grad():
            rows = what_may_be_written(tokenizer, model(torch.tensor([ids])).logits[0])
        rows = rows[num_context - 1 : -1]
        each = rows.gather(-1, torch.tensor(ids[num_context:])[:, None])[:, 0]
        assert value == pytest.approx(float(each.sum()), abs=1e-4), (context, continuation)
        behind = rows.max(-1).values - each
        if not ((behind > 0) & (behind < 1e-4)).any():  # else rounding decides which is greedy
            assert is_greedy == bool((behind == 0).all()), (context, continuation)


def what_may_be_written(tokenizer: Any, logits: torch.Tensor) -> torch.Tensor:
    """A model's log-softmax [T, Vm] over its end and all ids that are text.

    Ids with the same bytes, as `A` and `<0x41>`, are one token.
    """
    same: dict[bytes, list[int]] = {}
    for own in range(logits.shape[1]):
        added = tokenizer.added_tokens_decoder.get(own)
        if own == tokenizer.eos_token_id:
            continue
        if own >= len(tokenizer) or (added is not None and added.special):
            logits[:, own] = -torch.inf
        else:
            same.setdefault(spelled(tokenizer.convert_ids_to_tokens(own)), []).append(own)
    rows = logits.log_softmax(-1)
    for group in same.values():
        if len(group) > 1:
            rows[:, group] = rows[:, group].logsumexp(-1, keepdim=True)
    return rows


def spelled(token: str) -> bytes:
    """The bytes of a SentencePiece token; those of a byte-level token only up to their names."""
    if re.fullmatch("<0x[0-9A-F]{2}>", token):
        return bytes([int(token[3:5], 16)])
    return token.replace("\u2581", " ").encode()


def test_tasks_need_no_download() -> None:
    assert not any("dataset_path" in path.read_text("utf-8") for path in TASKS.glob("*.yaml"))
