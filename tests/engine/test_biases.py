"""Biases by id of the reference member, and what penalties change in whole requests."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from gac.core import END, Penalties
from gac.engine.client_request import ClientRequest
from gac.engine.requests import prepare
from gac.engine.writer import write
from gac.errors import RequestError
from gac.server.openai.chat import ChatBody
from gac.server.schemas import GenerateBody
from tests.support.fake_service import Fakes, fakes_for, started

ASKED = ClientRequest(messages_list=["the cat"], max_new_tokens=12, ignore_eos=True)


@pytest.fixture(scope="module")
def fakes() -> Iterator[Fakes]:
    with started(fakes_for()) as fakes:
        yield fakes


def biases(fakes: Fakes, logit_bias: dict[int, float], **changes: Any) -> dict[int, float]:
    asked = replace(ASKED, logit_bias=logit_bias, **changes)
    [request] = prepare(fakes.service.config, fakes.service.started, asked)
    return dict(request.penalties.bias)


def test_ids_are_those_of_the_reference_member(fakes: Fakes) -> None:
    ensemble = fakes.service.started.ensemble
    own = {name: one.canonical[b"c"] for name, one in ensemble.vocabularies.items()}
    assert own["ada"] != own["bora"]
    token = ensemble.union.index[b"c"]
    assert biases(fakes, {own["ada"]: 2.0}) == {token: 2.0}
    assert biases(fakes, {own["bora"]: 2.0}, members=["bora"]) == {token: 2.0}
    gated = {"name": "threshold", "gate": "bora"}
    assert biases(fakes, {own["bora"]: 2.0}, strategy=gated) == {token: 2.0}


def test_stop_id_stands_for_end_and_other_special_ids_can_only_be_banned(fakes: Fakes) -> None:
    bora = fakes.service.started.ensemble.vocabularies["bora"]
    [stop] = bora.stop_ids
    assert biases(fakes, {stop: 5.0}, members=["bora"]) == {END: 5.0}
    unknown = 0  # <unk>
    assert not bora.token_bytes[unknown]
    assert biases(fakes, {unknown: -100.0}, members=["bora"]) == {}
    with pytest.raises(RequestError, match="never picked") as raised:
        biases(fakes, {unknown: 1.0}, members=["bora"])
    assert raised.value.param == f"logit_bias.{unknown}"


def test_of_two_ids_of_the_same_bytes_the_larger_bias_counts(fakes: Fakes) -> None:
    bora = fakes.service.started.ensemble.vocabularies["bora"]
    twins = [n for n, spelled in enumerate(bora.token_bytes) if spelled == b"c"]
    assert len(twins) == 2, "the letter, and its byte"
    for values in ([1.0, -3.0], [-3.0, 1.0]):
        given = dict(zip(twins, values, strict=True))
        assert list(biases(fakes, given, members=["bora"]).values()) == [-3.0]


def test_bias_forces_what_a_client_names(fakes: Fakes) -> None:
    wanted = fakes.service.started.ensemble.vocabularies["ada"].canonical[b"z"]
    asked = replace(ASKED, logit_bias={wanted: 100.0})
    [text] = write(
        fakes.service.engine, prepare(fakes.service.config, fakes.service.started, asked)
    )
    assert text.text == "z" * 12


@pytest.mark.parametrize("body", [GenerateBody, ChatBody])
def test_keys_are_whole_numbers_as_text(body: Any) -> None:
    asked = {"messages_list": [[]]} if body is GenerateBody else {"messages": []}
    given = body.model_validate_json(json.dumps({**asked, "logit_bias": {"7": -100, "12": 2.5}}))
    assert given.logit_bias == {7: -100.0, 12: 2.5}
    for key in ("x", "-1", "1.0", "", "9" * 5000, "²"):
        with pytest.raises(ValueError, match="no token id"):
            body.model_validate_json(json.dumps({**asked, "logit_bias": {key: 1}}))


def test_neutral_penalties_are_none() -> None:
    assert Penalties(bias={3: 0.0}).is_neutral
    assert not any(
        penalties.is_neutral
        for penalties in (
            Penalties(presence=0.1),
            Penalties(frequency=-0.1),
            Penalties(repetition=0.9),
            Penalties(bias={3: 1.0}),
        )
    )
