"""What every strategy and aggregation declares: a name, parameters, and what they ask of requests.

A strategy says who is asked and when; its aggregation, what their distributions come to.  Each is
declared once, beside its algorithm: in `gac/decoding/`, or in a package of somebody else's.  This
is their common part; `gac/config/catalogue.py` lists them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, SerializeAsAny

from gac.config.fields import Section

if TYPE_CHECKING:
    from gac.core import Sampling


@dataclass(frozen=True, slots=True)
class Role:
    """Marks a parameter that names a member.

    Where the parameter has no default it is filled in: if it `leads` (the member is asked before
    the others) with the primary member, else the highest score, else the first member; if not, with
    the highest score among the members that do not lead.  Only who leads may have weight 0.
    """

    leads: bool = False


LeadingMember = Annotated[str, Field(description="the name of a member"), Role(leads=True)]
NamedMember = Annotated[str, Field(description="the name of a member"), Role()]


class Method(Section):
    """A strategy or an aggregation; each has a `Literal` as its name, and one paragraph of docs."""

    name: str

    @classmethod
    def member_parameters(cls) -> dict[str, Role]:
        """The parameters that may name a member."""
        return {
            key: role
            for key, field in cls.model_fields.items()
            for role in field.metadata
            if isinstance(role, Role)
        }

    @property
    def roles(self) -> dict[str, str]:
        """The members that it names, by the parameter that names them."""
        values = {key: getattr(self, key) for key in self.member_parameters()}
        return {key: value for key, value in values.items() if isinstance(value, str)}


class AggregationConfig(Method, ABC):
    """How the rows of one position become one distribution."""

    is_dense: ClassVar[bool] = False
    """Whether nothing less than all entries of all rows will do."""
    is_normalised: ClassVar[bool] = False
    """Whether its values sum to 1 as the rows do; else they are divided by their sum, where
    probabilities are told, and all entries are asked for to know it."""

    @abstractmethod
    def function(self, main: str | None, order: Any) -> Callable[..., Any]:
        """The `Aggregate` of `gac.decoding.combine`.

        `main` is the member that leads, if one does; `order` a `TokenOrder` of the union.
        """


AnyAggregation = SerializeAsAny[AggregationConfig]


class StrategyConfig(Method, ABC):
    """Who is asked for each token, and when.

    If it has a parameter `aggregation`, a request may set it on its own, beside the strategy; if it
    has a parameter `threshold`, so may a request, and the file's `THRESHOLD_API_SERVER` is its
    default.
    """

    @classmethod
    def leading_parameter(cls) -> str | None:
        """The parameter that names the member which is asked first."""
        return next((key for key, role in cls.member_parameters().items() if role.leads), None)

    @property
    def leader(self) -> str | None:
        """The member that is asked first, if one is."""
        key = self.leading_parameter()
        return None if key is None else getattr(self, key)

    def contradiction(self, num_members: int) -> tuple[str, str] | None:
        """A parameter that makes no sense among so many members, and why."""
        return None

    def refusal(self, sampling: "Sampling") -> tuple[str, str] | None:
        """The field of a request's sampling under which it would break its promise, and why."""
        return None

    def deciding(self, plain: Any, members: tuple[str, ...], tokens: Sequence[bytes]) -> Any:
        """What decides the tokens of two or more members: a `gac.decoding.decide.Decider`.

        `plain` is one that takes the weighted mean; `tokens` are the union's, by id.
        """
        return plain

    @abstractmethod
    def start(self, members: tuple[str, ...], decide: Any) -> Generator[Any, Any, None]:
        """The `Strategy` (`gac.decoding.flow`) of one sequence that two or more members write.

        Who leads is among them.  `decide` is the `Decider` that `deciding` gave.
        """
