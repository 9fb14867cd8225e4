"""The names of models: `gac`, the ensemble as configured, and `gac/<member>`, that member alone."""

from gac.config import Config
from gac.errors import ModelNotFound

ENSEMBLE = "gac"


def model_ids(config: Config) -> list[str]:
    """All names; those of single members only where requests may choose `members`."""
    names = [ENSEMBLE]
    if "members" in config.requests.may_choose:
        names += [f"{ENSEMBLE}/{member.name}" for member in config.members]
    return names


def resolve(config: Config, name: str | None) -> tuple[str, ...] | None:
    """The members that a model's name chooses; None for the ensemble, which no name means, too.

    Raises: ModelNotFound naming those there are.
    """
    if name is None or name == ENSEMBLE:
        return None
    known = model_ids(config)
    if name not in known:
        what = f"model: there is no {name!r}; the models are {', '.join(map(repr, known))}"
        raise ModelNotFound(what, param="model", code="model_not_found")
    return (name.removeprefix(f"{ENSEMBLE}/"),)
