"""How members write together, as frozen values: strategies, and how rows become one.

A strategy says who is asked and when; its aggregation, what their distributions come to.
"""

from typing import Literal

from pydantic import Field

from gac.config.fields import Count, Probability, Section


class ArithmeticConfig(Section):
    """The weighted mean of the members' probabilities."""

    name: Literal["arithmetic"] = "arithmetic"


class GeometricConfig(Section):
    """The weighted geometric mean: what one member rules out is out."""

    name: Literal["geometric"] = "geometric"


class MinConfig(Section):
    """The least probability that any member gives, whatever the weights above 0."""

    name: Literal["min"] = "min"


class UniteConfig(Section):
    """The weighted mean over the members' `top_k` best tokens, and no others."""

    name: Literal["unite"] = "unite"
    top_k: Count = 10


class CoreConfig(Section):
    """Weights by how far members and tokens agree; the main member has half the say or more.

    The main member is the gate or drafter, or else the one whose weight is highest.
    """

    name: Literal["core"] = "core"


class EntropyConfig(Section):
    """Weights by how sure each member is: over the entropy of its distribution."""

    name: Literal["entropy"] = "entropy"


class ReplaceConfig(Section):
    """One member's distribution decides alone."""

    name: Literal["replace"] = "replace"
    by: str = Field(description="the name of a member")


AggregationConfig = (
    ArithmeticConfig
    | GeometricConfig
    | MinConfig
    | UniteConfig
    | CoreConfig
    | EntropyConfig
    | ReplaceConfig
)


class Together(Section):
    """What all strategies share that decide tokens from several rows.

    With a `conflict_guard`, where the ensemble's token and the anchor's own are prefixes of one
    another the anchor's is kept; `true`: the gate or drafter, or else the highest weight.
    """

    aggregation: AggregationConfig = ArithmeticConfig()
    conflict_guard: bool | str = Field(
        default=False, description="true, false or the name of a member"
    )


class EveryStepConfig(Together):
    """All members are asked at every step."""

    name: Literal["every_step"] = "every_step"


class ThresholdConfig(Together):
    """The gate is asked first; the others only where its confidence is not above the threshold.

    `below` says what then decides: `ensemble` all members, `replace` the others without the gate.
    """

    name: Literal["threshold"] = "threshold"
    gate: str = Field(description="the name of a member")
    threshold: Probability
    below: Literal["ensemble", "replace"] = "ensemble"


class SafeConfig(Together):
    """The drafter writes, the others verify, all decide where they disagree (SAFE).

    A drafted token is let through where the members' mean probability of their own tokens is above
    `consensus`, or the drafter's confidence above `extra_gate`.  Where no token has half of the
    members' mean, it may be sharpened; `prefix_merge` touches tokens above `merge_lambda`.
    """

    name: Literal["safe"] = "safe"
    drafter: str = Field(description="the name of a member")
    max_tokens: int = Field(default=8, ge=1, le=64, description="a whole number from 1 to 64")
    """In a draft; fewer where drafts are rejected often."""
    consensus: Probability = 0.5
    extra_gate: Probability = 1.0
    sharpen: Literal["none", "prefix_merge", "geometric"] = "none"
    merge_lambda: Probability = 0.1


class MixtureConfig(Section):
    """Each token is sampled from one member, drawn by weight: as if from the weighted mean."""

    name: Literal["mixture"] = "mixture"
    aggregation: ArithmeticConfig = ArithmeticConfig()


StrategyConfig = EveryStepConfig | ThresholdConfig | SafeConfig | MixtureConfig
