"""Loads a member and makes its host, in this process or in a Ray actor."""

import statistics
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gac.config import EngineConfig, MemberConfig
from gac.core import Extend
from gac.decoding.support import TokenOrder
from gac.errors import MemberError
from gac.members.cores import usable_cores
from gac.members.drafting import Drafter
from gac.members.host import MemberHost
from gac.members.member import MemberFacts
from gac.model.listing import Lister
from gac.model.loading import LoadedModel, ModelSpec, load_model
from gac.model.projection import Projection
from gac.model.runner import ModelRunner
from gac.model.sequences import sound

DEFAULT_SEQUENCE_TOKENS = 2048
"""Without a configured bound the K/V cache has room for max_sequences of this length."""


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """Which model a member loads, and the limits of its cache."""

    name: str
    spec: ModelSpec
    num_members: int
    max_sequences: int
    kv_cache_tokens: int | None
    cuda_graphs: bool


@dataclass(frozen=True, slots=True)
class Seat:
    """A member's place in the union vocabulary, see `UnionVocabulary.places` and `.lead_places`.

    `own_ids` int32 [V] holds the id the member's tokenizer gives a union token, -1 where none.
    """

    places: NDArray[np.int32]
    lead_places: NDArray[np.int32] | None
    own_ids: NDArray[np.int32]
    order: TokenOrder


def load_order(member: MemberConfig, engine: EngineConfig, num_members: int) -> LoadOrder:
    """The order for one of `num_members` members, which share the cores equally."""
    spec = ModelSpec(
        path=member.path,
        dtype=member.dtype,
        device=member.device,
        max_memory=member.max_memory,
        quantization=member.quantization,
        revision=member.revision,
        trust_remote_code=member.trust_remote_code,
        max_model_len=member.max_model_len,
        num_threads=member.num_threads or 0,
    )
    return LoadOrder(
        member.name,
        spec,
        num_members,
        engine.max_sequences,
        engine.kv_cache_tokens,
        engine.cuda_graphs,
    )


class MemberLoader:
    """Loads a model, then makes its host, which needs the union of all vocabularies.

    `progress` may be read from another thread at any time.
    """

    def __init__(self, order: LoadOrder) -> None:
        self._order = order
        self._loaded: LoadedModel | None = None
        self._runner: ModelRunner | None = None
        self._facts: MemberFacts | None = None
        self.progress: tuple[str, float] = ("starting", 0.0)

    def load(self) -> MemberFacts:
        """Load the model.  Raises: MemberError naming the member and the cause."""
        started = time.monotonic()
        order = self._order
        try:
            # Counted on the machine of the model, which may not be the server's.
            share = max(1, usable_cores() // order.num_members)
            spec = replace(order.spec, num_threads=order.spec.num_threads or share)
            self._loaded = loaded = load_model(spec, self._report)
            self._report("self-check", 0.0)
            default = order.max_sequences * min(loaded.max_length, DEFAULT_SEQUENCE_TOKENS)
            max_tokens = order.kv_cache_tokens or default
            self._runner = ModelRunner(
                loaded,
                max_tokens=max_tokens,
                max_sequences=order.max_sequences,
                cuda_graphs=order.cuda_graphs,
            )
            step_s = _step_s(self._runner, min(loaded.max_length, max_tokens))
        except MemberError as error:
            raise MemberError(f"member {order.name!r}: {error.message}") from error
        self._facts = MemberFacts(
            num_logits=loaded.num_logits,
            max_context=loaded.max_length,
            max_kv_tokens=max_tokens,
            device=str(loaded.device),
            dtype=str(loaded.dtype).removeprefix("torch."),
            load_s=time.monotonic() - started,
            step_s=step_s,
            weights_bytes=loaded.num_bytes,
            kv_bytes=self._runner.kv_bytes,
        )
        return self._facts

    def _report(self, stage: str, fraction: float) -> None:
        self.progress = (stage, fraction)

    def seat(self, seat: Seat) -> MemberHost:
        """The host, once the union vocabulary is known."""
        assert self._loaded and self._runner and self._facts, (
            "a member was told its place in the union vocabulary before it was loaded"
        )
        name, facts = self._order.name, self._facts
        projection = Projection(
            seat.places, seat.own_ids.size, seat.lead_places, self._loaded.device
        )
        limit = min(facts.max_context, facts.max_kv_tokens)
        drafter = Drafter(name, seat.order, seat.own_ids, limit)
        return MemberHost(name, self._runner, Lister(name, projection), drafter)


def _step_s(runner: ModelRunner, max_length: int) -> float:
    """The median time of a few steps; the first ones are warm-up."""
    seconds = []
    for length in range(1, 1 + min(8, max_length)):
        started = time.perf_counter()
        [logits] = sound(runner.extend([Extend(0, length - 1, (0,), (length,))]))
        logits.cpu()  # waits for the GPU
        seconds.append(time.perf_counter() - started)
    runner.release([0])
    return statistics.median(seconds[3:] or seconds)
