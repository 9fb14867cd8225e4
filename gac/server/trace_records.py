"""How a token came about, as JSON: the values of `gac.trace`, tokens as text and as bytes."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from gac.trace import Outcome, Why

Byte = Annotated[int, Field(ge=0, le=255)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Record(BaseModel):
    """What all of them share: nothing else may stand there, and nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Spelled(Record):
    """A token: its text, as far as it is any, and its bytes; END has none."""

    text: str
    bytes: list[Byte]


class CandidateRecord(Spelled):
    """A token that a member might have written."""

    probability: Number


class CombinedRecord(Spelled):
    """A token's value in the combined distribution: from `value` to `at_most`."""

    value: Number
    at_most: Number


class MemberRecord(Record):
    """A member that gave a row."""

    member: str
    weight: Number
    confidence: Number
    top: list[CandidateRecord]


class VerdictRecord(Record):
    """What a verifier thinks of its own token there, if its tokens meet the drafter's."""

    member: str
    agrees: bool | None
    probability: Number | None


class TokenRecord(Spelled):
    """One token, or END."""

    outcome: Outcome
    why: Why
    asked: list[str]
    owners: list[str]
    agreement: Number
    rejected: Spelled | None
    members: list[MemberRecord]
    combined: list[CombinedRecord]
    verdicts: list[VerdictRecord]
