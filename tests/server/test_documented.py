"""The OpenAPI document has the statuses that are sent, and no other."""

from typing import Any

import pytest

from gac.server.documented import ERRORS, STREAMED
from tests.support.client import ask, generate
from tests.support.openai_client import CHAT, said


@pytest.fixture(scope="module")
def paths(url: str) -> dict[str, Any]:
    found: dict[str, Any] = ask(url, "GET", "/openapi.json").body["paths"]
    return found


def test_every_path_that_the_table_names_is_served(paths: dict[str, Any]) -> None:
    assert set(ERRORS) | set(STREAMED) <= set(paths)
    for path, operations in paths.items():
        for operation in operations.values():
            documented = {int(status) for status in operation["responses"]}
            assert documented == {200, *ERRORS.get(path, ())}, path


def test_the_references_of_the_document_lead_somewhere(url: str) -> None:
    document = ask(url, "GET", "/openapi.json").body

    def references(part: Any) -> list[str]:
        if isinstance(part, dict):
            own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
            return own + [found for inner in part.values() for found in references(inner)]
        if isinstance(part, list):
            return [found for inner in part for found in references(inner)]
        return []

    names = {name.rpartition("/")[2] for name in references(document)}
    assert names <= set(document["components"]["schemas"])
    assert "ErrorBody" in names


def test_a_stream_and_an_error_have_the_documented_form(url: str, paths: dict[str, Any]) -> None:
    post = paths[CHAT]["post"]["responses"]
    assert set(post["200"]["content"]) == {"application/json", "text/event-stream"}
    wrong = generate(url, {**said(), "temperature": -1}, CHAT)
    assert wrong.status == 400
    schema = ask(url, "GET", "/openapi.json").body["components"]["schemas"]["ErrorFields"]
    assert set(wrong.error) == set(schema["properties"])
