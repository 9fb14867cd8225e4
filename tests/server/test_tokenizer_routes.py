"""/tokenize, /detokenize and /tokenizer_info: a client without a tokenizer can count and cut."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.client import Answer, ask
from tests.support.examples import examples
from tests.support.fake_service import PLAIN, Fakes

MEMBERS = ["ada", "bora"]
TEXTS = st.lists(
    st.sampled_from([" the", "the", "é", "日", "👍", "\n", " ", "<|end|>", "</s>", "<s>", "a."]),
    max_size=10,
).map("".join)


def post(url: str, path: str, **body: Any) -> Answer:
    headers = {"Content-Type": "application/json"}
    return ask(url, "POST", path, json.dumps(body).encode(), headers)


def tokens(url: str, **body: Any) -> list[int]:
    answer = post(url, "/tokenize", **body)
    assert answer.status == 200, answer.body
    assert answer.body["count"] == len(answer.body["tokens"])
    found: list[int] = answer.body["tokens"]
    return found


@pytest.mark.parametrize("member", MEMBERS)
@examples(40)
@given(text=TEXTS)
def test_text_survives_there_and_back(url: str, member: str, text: str) -> None:
    ids = tokens(url, prompt=text, model=f"gac/{member}")
    back = post(url, "/detokenize", tokens=ids, model=f"gac/{member}")
    assert back.body == {"prompt": text}


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("text", ["the cat", "a<|end|></s>é", ""])
def test_ids_are_those_the_member_reads(url: str, fakes: Fakes, member: str, text: str) -> None:
    expected = fakes.service.started.tokenizers[member].prompts.encode_text(text)
    assert tokens(url, prompt=text, model=f"gac/{member}") == expected


def test_without_a_model_it_is_the_reference_member(url: str) -> None:
    for named in ({}, {"model": "gac"}, {"model": None}):
        assert tokens(url, prompt="the cat", **named) == tokens(
            url, prompt="the cat", model="gac/ada"
        )
    assert ask(url, "GET", "/tokenizer_info").body["gac"]["member"] == "ada"


def test_conversation_is_in_the_template_of_the_member(url: str) -> None:
    messages = [{"role": "user", "content": "the cat <|end|>"}]
    ids = tokens(url, messages=messages, model="gac/ada")
    assert post(url, "/detokenize", tokens=ids).body["prompt"] == "user: the cat <|end|>\n"


def test_strings_of_tokens_come_on_request(url: str) -> None:
    answer = post(url, "/tokenize", prompt=" the cat", return_token_strs=True)
    assert answer.body["token_strs"] == ["Ġthe", "Ġcat"]
    assert answer.body["max_model_len"] == 300
    assert "token_strs" not in post(url, "/tokenize", prompt=" the cat").body


@pytest.mark.parametrize("member", MEMBERS)
def test_text_of_eos_alone_is_its_id(url: str, fakes: Fakes, member: str) -> None:
    info = ask(url, "GET", f"/tokenizer_info?model={quote(f'gac/{member}')}").body
    [stop] = fakes.service.started.tokenizers[member].vocabulary.stop_ids
    assert info["gac"]["stop_token_ids"] == [stop]
    bare = {"prompt": info["eos_token"], "model": f"gac/{member}"}
    assert tokens(url, **bare, add_special_tokens=False) == [stop]
    assert stop not in tokens(url, **bare)
    back = post(url, "/detokenize", tokens=[stop], model=f"gac/{member}")
    assert back.body["prompt"] == info["eos_token"]


def test_what_lm_evaluation_harness_reads_is_there(url: str) -> None:
    info = ask(url, "GET", "/tokenizer_info").body
    assert {"eos_token", "bos_token", "pad_token", "chat_template", "tokenizer_class"} <= set(info)
    assert info["eos_token"] == "<|end|>" and info["chat_template"] == PLAIN


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/tokenize", {}, 400, "prompt"),
        ("/tokenize", {"prompt": "a", "messages": []}, 400, "prompt"),
        ("/tokenize", {"prompt": "\ud800"}, 400, "prompt"),
        ("/tokenize", {"prompt": "a", "truncate": 1}, 400, "truncate"),
        ("/tokenize", {"prompt": "a", "model": "gac/x"}, 404, "model"),
        ("/tokenize", {"messages": [{"role": "x", "content": ""}], "model": "gac/bora"}, 400, None),
        ("/detokenize", {"tokens": [1, -1]}, 400, "tokens[1]"),
        ("/detokenize", {"tokens": [10**9]}, 400, "tokens[0]"),
        ("/detokenize", {"tokens": ["a"]}, 400, "tokens[0]"),
        ("/detokenize", {"tokens": [], "model": "x"}, 404, "model"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(
    url: str, path: str, body: Any, status: int, param: str | None
) -> None:
    answer = post(url, path, **body)
    assert answer.status == status, answer.body
    assert answer.error["param"] == (param or "messages_list")
    if status == 404:
        assert answer.error["code"] == "model_not_found"
        assert "'gac', 'gac/ada', 'gac/bora'" in answer.error["message"]
