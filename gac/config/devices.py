"""Whether what a member says of its GPUs hangs together; needs no GPU, and no Ray, to know."""

import math

from gac.config import Config, MemberConfig
from gac.errors import ConfigError


def check_devices(config: Config) -> None:
    """Raise ConfigError naming the first member that contradicts itself."""
    for place, member in enumerate(config.members):
        if problem := _contradiction(member, config.ray.enabled):
            raise ConfigError(f"CONFIG_API_SERVER[{place}] ({member.name}).{problem}")


def _contradiction(member: MemberConfig, is_placed: bool) -> str | None:
    """The wrong key and why; without Ray nothing is reserved, and every GPU can be seen."""
    gpus = f"num_gpus: {member.num_gpus:g}"
    if member.device == "cpu" and member.num_gpus > 0:
        return f"device: 'cpu' is not allowed with {gpus}; must be 'auto' or 'cuda', or num_gpus 0"
    if not is_placed:
        return None
    if member.device == "cuda" and member.num_gpus == 0:
        return f"device: 'cuda' is not allowed with {gpus}; the member would see no GPU"
    visible = math.ceil(member.num_gpus)
    for index in member.max_memory or ():
        if isinstance(index, int) and index >= visible:
            sees = f"GPUs 0 to {visible - 1}" if visible else "none"
            return f"max_memory: there is no GPU {index} with {gpus}; the member sees {sees}"
    return None
