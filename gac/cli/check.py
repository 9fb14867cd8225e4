"""Check a configuration without loading weights."""

import signal

from gac.cli.process import SIGNAL_CODE
from gac.config import Config, MemberConfig, describe
from gac.engine.startup import load_tokenizers, unite
from gac.errors import PlacementError
from gac.members.placement import RayCluster, bundle_of, shown_resources
from gac.vocabulary.report import vocabulary_report

_WITHOUT_TEMPLATE = (
    "WARNING: {name} has no chat template: requests with apply_chat_template: true are refused. "
    "chat_template: FILE gives it one.\n"
)


def check(config: Config) -> int:
    """Print the resolved configuration, the vocabulary report and the placement plan.

    Warns of members without a chat template, and says which members would run on the CPU.

    Raises: GacError if a tokenizer is refused or the cluster has no room.
    """
    print(describe(config))
    tokenizers = load_tokenizers(config)
    leads = {name: tokenizer.leads for name, tokenizer in tokenizers.items()}
    vocabularies = [tokenizer.vocabulary for tokenizer in tokenizers.values()]
    print(vocabulary_report(vocabularies, leads, unite(tokenizers)))
    for name, tokenizer in tokenizers.items():
        if not tokenizer.has_template:
            print(_WITHOUT_TEMPLATE.format(name=name))
    print(_plan(config))
    if config.ray.enabled:
        _try_to_place(config)
    return 0


def _plan(config: Config) -> str:
    """Where each member goes, as a table."""
    where = "one Ray actor each" if config.ray.enabled else "all in this process"
    lines = [f"Placement plan: {len(config.members)} members, {where}"]
    for member in config.members:
        reserved = shown_resources(bundle_of(member)) or "nothing reserved"
        details = [f"quantization {member.quantization}", f"dtype {member.dtype}"]
        if member.max_memory:
            details += [f"max_memory {dict(member.max_memory)}"]
        details += [_device(member, config.ray.enabled)]
        lines.append(f"  {member.name}: {reserved}; {', '.join(details)}; {member.path}")
    return "\n".join(lines)


def _device(member: MemberConfig, is_placed: bool) -> str:
    """Where a member's model runs; Ray shows an actor the GPUs that it reserved, and no other."""
    if member.device == "cpu":
        return "on the CPU (device: cpu)"
    if is_placed and not member.num_gpus:
        return "on the CPU (num_gpus: 0)"
    return "on a GPU" if member.num_gpus else "on a GPU if there is one, else on the CPU"


def _try_to_place(config: Config) -> None:
    cluster = RayCluster(config.ray)
    try:
        cluster.start()
        _check_room(cluster, config)
    except SystemExit as stopped:  # by Ray's own handler of SIGTERM
        raise SystemExit(SIGNAL_CODE + signal.SIGTERM) from stopped
    finally:
        cluster.stop()


def _check_room(cluster: RayCluster, config: Config) -> None:
    try:
        cluster.check(config.members)
    except PlacementError:
        print("  does not fit")  # the error itself says why
        raise
    print("  fits")
