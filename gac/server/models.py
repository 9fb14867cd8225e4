"""The ids of models: `gac` is the ensemble, `gac/<member>` one member alone on the same server."""

from collections.abc import Sequence

from gac.config import Config
from gac.config.explain import show
from gac.errors import RequestError

ENSEMBLE = "gac"


class ModelNotFound(RequestError):
    """There is no model of this id."""

    http_status = 404


def model_ids(config: Config) -> list[str]:
    """The models that a request may name; members only where it may choose them."""
    if "members" not in config.requests.may_choose:
        return [ENSEMBLE]
    return [ENSEMBLE, *(f"{ENSEMBLE}/{member.name}" for member in config.members)]


def members_of(config: Config, model: str) -> Sequence[str] | None:
    """The member that a model's id names; None for the ensemble.  Raises: ModelNotFound."""
    known = model_ids(config)
    if model not in known:
        which = ", ".join(map(show, known))
        message = f"model: {show(model)} does not exist; the models are {which}"
        raise ModelNotFound(message, param="model", code="model_not_found")
    return None if model == ENSEMBLE else (model.removeprefix(f"{ENSEMBLE}/"),)
