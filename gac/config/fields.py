"""What all parts of the configuration share: how a field is checked, and what a section is."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# Each field's `description` completes "must be ..." in an error; a Literal speaks for itself.
Count = Annotated[int, Field(ge=1, description="a whole number, at least 1")]
OptionalCount = Annotated[int | None, Field(ge=1, description="a whole number, at least 1")]
OptionalText = Annotated[str | None, Field(min_length=1, description="text (digits in quotes)")]
Flag = Annotated[bool, Field(description="true or false")]
OptionalProbability = Annotated[float | None, Field(ge=0, le=1, description="a number from 0 to 1")]
Probability = Annotated[float, Field(ge=0, le=1, description="a number from 0 to 1")]


class Section(BaseModel):
    """What all parts of the configuration share: immutable, no conversions, no unknown keys."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", validate_by_name=True, allow_inf_nan=False
    )
