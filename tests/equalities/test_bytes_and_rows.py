"""What members are told spells what was committed, and their rows are the model's, whole."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from unittest.mock import patch

import numpy as np
import pytest

from gac.config import EveryStepConfig, ThresholdConfig
from gac.core import Answer, Entries, Event, Extend, GenerateRequest, Sampling, TokenEvent
from gac.decoding.strategies import StrategyMaker
from gac.engine.engine import Engine
from gac.engine.ensemble import Ensemble
from gac.engine.known import Known
from gac.engine.limits import EngineLimits
from gac.engine.speculation import Speculation
from gac.errors import GacError
from gac.members.member import Member, MemberFacts, Reply
from gac.model.runner import CacheUse
from gac.vocabulary.retokenize import MemberContext
from tests.support import reference
from tests.support.collect import Written
from tests.support.fakes import EagerSpeculation
from tests.support.real_members import DEMO, RANDOM, real_ensemble, real_model

pytestmark = pytest.mark.slow

TRIOS = [("llama", "gram-sliding", "gpt2"), ("gram", "neox", "mistral")]
TRIOS += [DEMO] if len(DEMO) == 3 else []
TEXTS = ("the cat sat", "What is the capital of France?", "é 日本\n\n12", "Once upon a time, a")


@dataclass
class Asked:
    """One item a member was asked, the bytes committed by then, and the answer."""

    member: str
    item: Extend
    committed: bytes
    answer: Answer | None = None


class Watch:
    """Hears events and calls, both on the engine's thread, so that their order is known.

    Sequences are numbered from 1 in the order they are submitted.
    """

    def __init__(self, requests: Sequence[GenerateRequest]) -> None:
        self.requests = dict(enumerate(requests, start=1))
        self.number = {request.request_id: n for n, request in self.requests.items()}
        self.committed = dict.fromkeys(self.requests, b"")
        self.written = {number: Written() for number in self.requests}
        self.asked: list[Asked] = []
        self.num_evictions = 0

    def put(self, event: Event) -> None:
        number = self.number[event.request_id]
        if isinstance(event, TokenEvent):
            self.committed[number] += event.token_bytes
        self.written[number].put(event)

    def is_full(self) -> bool:
        return False


class WatchedMember:
    """A member whose calls are heard by a watch."""

    def __init__(self, inner: Member, watch: Watch) -> None:
        self._inner, self._watch = inner, watch

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def facts(self) -> MemberFacts:
        return self._inner.facts

    def extend(self, batch: Sequence[Extend]) -> "Future[Reply]":
        asked = [Asked(self.name, i, self._watch.committed[i.sequence]) for i in batch]
        self._watch.asked += asked

        def keep(future: "Future[Reply]") -> None:
            for one, answer in zip(asked, future.result().answers, strict=True):
                assert isinstance(answer, Answer)
                one.answer = answer

        future = self._inner.extend(batch)
        future.add_done_callback(keep)
        return future

    def release(self, sequences: Iterable[int]) -> None:
        self._inner.release(sequences)

    def when_lost(self, tell: Callable[[GacError], None]) -> None:
        self._inner.when_lost(tell)

    def close(self) -> None:
        self._inner.close()


@contextmanager
def every_context() -> Iterator[list[tuple[MemberContext, bytes, tuple[int, ...]]]]:
    """Collects every context, its text and its ids after each commit; not those of guesses."""
    seen: list[tuple[MemberContext, bytes, tuple[int, ...]]] = []
    plain = Known.commit

    def commit(known: Known, token: bytes, owned: bool) -> None:
        plain(known, token, owned)
        context = known.context
        seen.append((context, bytes(context.text), tuple(context.ids)))

    with patch.object(Known, "commit", commit):
        yield seen


def run(
    ensemble: Ensemble,
    requests: Sequence[GenerateRequest],
    config,
    drafts: Speculation | None = None,
    **limits: int,
) -> Watch:
    watch = Watch(requests)
    members = {name: WatchedMember(member, watch) for name, member in ensemble.members.items()}
    watched = replace(ensemble, members=members)
    engine = Engine(watched, StrategyMaker(config), EngineLimits(**limits), drafts)
    engine.start()
    engine.submit(requests, watch)
    for written in watch.written.values():
        assert written.done.wait(60), "the engine hangs"
    engine.stop()
    watch.num_evictions = engine.metrics.evictions
    return watch


def test_models_run_from_the_shared_cache() -> None:
    """Guards all tests of this folder: a model found inexact would be computed anew each time."""
    for name in (*RANDOM, *DEMO):
        assert real_model(name).cache_use is CacheUse.BATCHED, name


@pytest.mark.parametrize("ahead", ["nobody", "gate", "drafter"])
@pytest.mark.parametrize("rule", ["canonical", "append"])
@pytest.mark.parametrize("trio", TRIOS, ids="+".join)
def test_ids_spell_what_was_committed_and_rows_are_whole(trio, rule, ahead) -> None:
    """After every token, and in every call; some calls are evicted ones told anew, or chunks.

    Each row is compared with a plain pass over the ids as they were told: so cached = uncached, no
    probability is lost, and none of it goes to other bytes.
    """
    gated = ahead == "gate"
    config = ThresholdConfig(gate=trio[0], threshold=0.3) if gated else EveryStepConfig()
    drafts = EagerSpeculation(trio[1], 3, trio) if ahead == "drafter" else None
    models = {name: real_model(name) for name in trio}
    requests = [
        GenerateRequest(
            str(place),
            {name: model.prompt(text, place % 2 == 1) for name, model in models.items()},
            16,
            ignore_eos=True,
            sampling=Sampling(temperature=0.8 * (place > 1), seed=place),
        )
        for place, text in enumerate(TEXTS)
    ]
    longest = max(len(prompt.ids) for request in requests for prompt in request.prompts.values())
    with real_ensemble(models, rule=rule, max_kv_tokens=2 * longest + 16) as ensemble:
        with every_context() as seen:
            watch = run(ensemble, requests, config, drafts, max_batch_tokens=12)
        assert gated or watch.num_evictions > 0
        check_contexts(watch, seen)
        told: dict[tuple[str, int], list[int]] = {}
        for asked in watch.asked:
            check_asked(ensemble, models, watch.requests[asked.item.sequence], asked, told)
    num_rows = sum(len(asked.answer.rows) for asked in watch.asked if asked.answer is not None)
    assert num_rows >= sum(one.finish.completion_tokens for one in watch.written.values())
    someone_writes = any(asked.answer and asked.answer.written for asked in watch.asked)
    assert someone_writes is (ahead != "nobody")
    scored = [a for a in watch.asked if len(a.item.positions) > 1 and not a.item.lead]
    assert bool(scored) is (drafts is not None)
    assert any(not asked.item.positions for asked in watch.asked), "no prefill in chunks"


def check_contexts(watch: Watch, seen) -> None:
    """Every member's ids spell the text, after every token and so at the end."""
    last: dict[int, bytes] = {}
    for context, text, ids in seen:
        tail = ids[context.num_prompt_ids :]
        assert not context.abstains
        assert context.vocabulary.spell(tail) == text
        assert all(context.vocabulary.token_bytes[token_id] for token_id in tail)
        last[id(context)] = text.removeprefix(b" ") if context.lead else text
    assert sorted(last.values()) == sorted(
        text for text in watch.committed.values() for _ in watch.requests[1].prompts
    )


def check_asked(ensemble: Ensemble, models, request, asked: Asked, told) -> None:
    item, name = asked.item, asked.member
    prompt, own = request.prompts[name], ensemble.vocabularies[name]
    ids = told.setdefault((name, item.sequence), [])
    assert item.kept <= len(ids)
    ids[item.kept :] = item.tail
    end = len(ids)
    assert asked.answer is not None
    ids += asked.answer.written
    assert tuple(ids[: len(prompt.ids)]) == prompt.ids[: len(ids)]
    spelled = own.spell(ids[len(prompt.ids) : end])
    starting = prompt.lead and not asked.committed
    text = b" " + asked.committed if prompt.lead else asked.committed
    if not item.positions:
        assert text.startswith(spelled)
        return
    assert spelled.startswith(text)
    assert item.lead == starting
    first = item.positions[0]
    assert own.spell(ids[len(prompt.ids) : first]) == (b"" if starting else text)
    scored = () if starting else item.positions[1:]
    assert starting or max(item.positions) == end or not item.tail, "a row it knew, once more"
    lengths = [first, *scored, *range(end + 1, len(ids) + 1)]
    for length, row in zip(lengths, asked.answer.rows, strict=True):
        member = reference.Member(models[name].probabilities, own, ids[:length], lead=starting)
        expected = reference._going_on(member.distribution(b""), must=True)
        dense = np.zeros(len(ensemble.union))
        for token, probability in expected.items():
            dense[ensemble.union.index[token]] = probability
        check_row(row, dense)


def check_row(row: Entries, dense: np.ndarray) -> None:
    """Its entries are the distribution's, each once, and what it leaves out is no larger."""
    assert row.probs.dtype == np.float32
    assert len(set(row.ids.tolist())) == row.ids.size
    assert abs(dense[row.ids] - row.probs).max() < 2e-5
    others = np.delete(dense, row.ids)
    assert others.max(initial=0.0) <= row.bound + 2e-5
    assert row.bound <= row.probs.max()
