"""Checks the committed demonstration models, their tokenizers and the corpus behind them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from functools import cache
from itertools import islice
from pathlib import Path

import jinja2
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from demo.bodies import MOST_POSITIONS
from demo.corpus import FOLLOW_UP_DEV, FOLLOW_UP_TEST, member_conversations
from demo.curriculum import RELATIONS, deal
from demo.evaluate import MAX_NEW_TOKENS, MemberAlone, is_right, marks_table
from demo.members import MEMBERS, Member
from demo.questions import Question, questions
from demo.together import Together
from demo.topics.arithmetic import Sums, held_out_subjects
from gac.config import EveryStepConfig

ROOT = Path(__file__).parents[2]
MEMBER_LIST = list(MEMBERS.values())
NAMES = list(MEMBERS)
MOST_PARAMETERS = 1_200_000
MOST_BYTES = 5_000_000
SAMPLED_CONVERSATIONS = 4000
TEXTS = [
    "plain words",
    "two  spaces and   three",
    "trailing ",
    "tab\tand\ttab",
    "line\nline\n\nline",
    "carriage\r\nreturn",
    "\n",
    "日本語と中文",
    "emoji 😀 👩🏽‍🚀 🇧🇷",
    "e\u0301 é \u00a0 ﬁ",
    "<0x41><0x0A>",
    "nul\x00 and \x7f",
    "Ελληνικά العربية हिन्दी",
    "“quotes” — dashes …",
    "a_b-c(d)[e]{f}~`^|\\",
]


@cache
def _tokenizer(name: str) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(MEMBERS[name].folder)


@cache
def _training_questions(name: str) -> tuple[str, ...]:
    sampled = member_conversations(MEMBERS[name], SAMPLED_CONVERSATIONS)
    return tuple(
        turn["content"].lower() for turns in sampled for turn in turns if turn["role"] == "user"
    )


@pytest.mark.parametrize("member", MEMBER_LIST, ids=NAMES)
def test_size_limits_hold(member: Member) -> None:
    model = AutoModelForCausalLM.from_pretrained(member.folder)
    assert model.num_parameters() <= MOST_PARAMETERS
    assert model.dtype == torch.float32
    assert model.config.max_position_embeddings == MOST_POSITIONS
    assert sum(file.stat().st_size for file in member.folder.iterdir()) <= MOST_BYTES


@pytest.mark.parametrize("member", MEMBER_LIST, ids=NAMES)
def test_positions_past_the_training_lengths_do_not_break(member: Member) -> None:
    model = AutoModelForCausalLM.from_pretrained(member.folder)
    ids = torch.full((1, 1200), _tokenizer(member.name).eos_token_id)
    with torch.no_grad():
        assert model(ids).logits.isfinite().all()


@pytest.mark.parametrize("member", MEMBER_LIST, ids=NAMES)
def test_generation_ends_at_the_end_of_turn(member: Member) -> None:
    model = AutoModelForCausalLM.from_pretrained(member.folder)
    ends = model.generation_config.eos_token_id
    assert _tokenizer(member.name).convert_ids_to_tokens(ends) == member.end_of_turn


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", TEXTS)
def test_tokenizers_are_lossless(name: str, text: str) -> None:
    tokenizer = _tokenizer(name)
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


@pytest.mark.parametrize("member", MEMBER_LIST, ids=NAMES)
def test_tokenizers_load_as_they_were_saved(member: Member) -> None:
    saved = Tokenizer.from_file(str(member.folder / "tokenizer.json"))
    assert _tokenizer(member.name).backend_tokenizer.to_str() == saved.to_str()


@pytest.mark.parametrize("name", NAMES)
def test_no_text_becomes_unknown(name: str) -> None:
    tokenizer = _tokenizer(name)
    unknown = tokenizer.unk_token_id
    ids = [i for text in TEXTS for i in tokenizer.encode(text, add_special_tokens=False)]
    assert unknown is None or unknown not in ids


@pytest.mark.parametrize("name", NAMES)
def test_templates_open_a_reply_that_training_continued(name: str) -> None:
    asked = [{"role": "user", "content": "Hello!"}]
    replied = [*asked, {"role": "assistant", "content": "Hello! How are you?"}]
    tokenizer = _tokenizer(name)
    prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True)["input_ids"]
    whole = tokenizer.apply_chat_template(replied)["input_ids"]
    assert whole[: len(prompt)] == prompt


@pytest.mark.parametrize("name", NAMES)
def test_templates_refuse_unknown_roles(name: str) -> None:
    with pytest.raises(jinja2.TemplateError):
        _tokenizer(name).apply_chat_template([{"role": "wizard", "content": "Hello!"}])


@pytest.mark.parametrize("member", MEMBER_LIST, ids=NAMES)
def test_only_some_templates_take_a_system_message(member: Member) -> None:
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello!"}]
    if member.accepts_system:
        text = _tokenizer(member.name).apply_chat_template(turns, tokenize=False)
        assert "Be kind." in text
    else:
        with pytest.raises(jinja2.TemplateError):
            _tokenizer(member.name).apply_chat_template(turns)


def test_held_out_phrasings_belong_to_no_training_list() -> None:
    for relation in RELATIONS:
        assert relation.dev != relation.test
        assert relation.dev not in relation.train
        assert relation.test not in relation.train


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("part", ["dev", "test"])
def test_held_out_questions_are_absent_from_training(name: str, part: str) -> None:
    # Training puts lead-ins before questions, so an equal ending would count as seen.
    seen = _training_questions(name)
    single = [q.conversation for q in questions(part) if len(q.conversation) == 1]
    for conversation in single:
        asked = conversation[0]["content"].lower()
        assert not any(question.endswith(asked) for question in seen), asked


@pytest.mark.parametrize("name", NAMES)
def test_held_out_follow_ups_are_absent_from_training(name: str) -> None:
    for phrasing in (FOLLOW_UP_DEV, FOLLOW_UP_TEST):
        opening = phrasing.split("{x}")[0].lower()
        assert not any(question.startswith(opening) for question in _training_questions(name))


@pytest.mark.parametrize("member", MEMBER_LIST, ids=NAMES)
def test_held_out_sums_are_dealt_to_nobody(member: Member) -> None:
    for hand in deal(member):
        if isinstance(hand.relation, Sums):
            dev, test = held_out_subjects(hand.relation)
            studied = [subject for subject, _ in hand.studied]
            assert not [subject for subject in (*dev, *test) if subject in studied]


def test_development_and_final_questions_are_disjoint() -> None:
    asked = [[str(q.conversation) for q in questions(part)] for part in ("dev", "test")]
    assert not [question for question in asked[0] if question in asked[1]]


def _corpus_digest() -> str:
    digest = hashlib.sha256()
    for member in MEMBER_LIST:
        for turns in islice(member_conversations(member, 300), 300):
            digest.update(repr(turns).encode())
    digest.update(repr(questions("dev") + questions("test")).encode())
    return digest.hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_the_corpus_is_the_same_in_every_process(hash_seed: str) -> None:
    code = "from tests.demo.test_demo_models import _corpus_digest; print(_corpus_digest())"
    settings = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=settings,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == _corpus_digest()


@pytest.mark.parametrize("member", MEMBER_LIST, ids=NAMES)
def test_each_member_knows_what_it_studied(member: Member) -> None:
    hands = [hand for hand in deal(member) if not isinstance(hand.relation, Sums)]
    asked = []
    for hand in hands:
        subject, answer = hand.studied[0]
        turn = {"role": "user", "content": hand.relation.question(hand.relation.train[0], subject)}
        asked.append(Question(hand.relation.topic, [turn], (answer,)))
    replies = MemberAlone(member)([question.conversation for question in asked])
    right = [is_right(question, text) for question, text in zip(asked, replies, strict=True)]
    assert sum(right) >= 0.8 * len(right)


def test_marking_wants_the_word_in_a_short_reply() -> None:
    question = Question("geography", [], ("Oslo",))
    assert is_right(question, "The capital of Norway is oslo.")
    assert not is_right(question, "The capital of Norway is Osloo.")
    assert not is_right(question, "Oslo " + "Paris " * 30)


def test_the_table_counts_by_topic() -> None:
    asked = [Question("a", [], ("1",)), Question("a", [], ("2",)), Question("b", [], ("3",))]
    marks = [is_right(*pair) for pair in zip(asked, ["1", "1", "3"], strict=True)]
    table = marks_table({"me": marks}, asked)
    assert [line.split()[:3] for line in table.splitlines()[1:]] == [
        ["a", "2", "50.0"],
        ["b", "1", "100.0"],
        ["overall", "3", "66.7"],
    ]


def test_three_together_know_more_than_the_best_of_them() -> None:
    asked = questions("dev")[::4]
    conversations = [question.conversation for question in asked]
    together = Together(NAMES, EveryStepConfig(), MAX_NEW_TOKENS)
    replies = {"together": together(conversations)}
    together.close()
    assert together.ensembled_share == 1.0
    replies |= {member.name: MemberAlone(member)(conversations) for member in MEMBER_LIST}
    right = {
        name: sum(is_right(*pair) for pair in zip(asked, given, strict=True))
        for name, given in replies.items()
    }
    assert right.pop("together") > max(right.values()) + 5, right
