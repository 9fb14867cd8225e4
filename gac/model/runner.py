"""Logits for token ids: a sequence is told, the cache follows.

`extend` states what a sequence consists of; what is already computed is kept, the rest is computed
in forward passes shared by all sequences of the batch.  Knows ids and positions only: no text, no
union vocabulary, no strategy, no request.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import count

import torch
from torch import nn

from gac.core import Extend
from gac.errors import MemberError
from gac.model.forward import CacheUse, Chunk, Forward
from gac.model.graph_check import check_graphs
from gac.model.graphs import recorder_for
from gac.model.lean_timing import use_lean_if_faster
from gac.model.loading import LoadedModel, as_loaded
from gac.model.longrope import stages
from gac.model.masks import rope_switch
from gac.model.prefixes import Prefixes
from gac.model.rows import Rows
from gac.model.self_check import choose_cache
from gac.model.sequences import Job, Limits, Told, UnknownSequence, answer_of, tell

__all__ = ["CacheUse", "ModelRunner", "UnknownSequence"]

logger = logging.getLogger(__name__)

_CHUNK = 512
"""Ids per row and pass; bounds masks and activations."""
_PASS = 4096
"""Ids per pass, padding included; bounds the same."""
_NOT_LEAN = "they need the lean forward pass, which is not used for this model"
_PADDING = {"cpu": 16, "cuda": 256}
"""Padded ids that cost less than one more pass."""


class ModelRunner:
    """Owner of one model's sequences and of their keys and values.

    Holds K/V for at most `max_tokens` slots (rows x length) in `max_sequences` rows; what does not
    fit is evicted, least recently used first, and computed again when it is extended.
    """

    def __init__(
        self,
        model: LoadedModel | nn.Module,
        *,
        max_tokens: int,
        max_sequences: int,
        cache_use: CacheUse | None = None,
        forward: Forward | None = None,
        cuda_graphs: bool = False,
    ) -> None:
        """`cache_use` is found by a self-check of the model unless it is given.

        If it is given, the lean code is not timed against the model's modules, and no CUDA graphs
        are used.  If not, graphs are used where `cuda_graphs` asks for them, the model runs on the
        lean code, and they pass a check.
        """
        self._loaded = loaded = model if isinstance(model, LoadedModel) else as_loaded(model)
        self._limits = Limits(loaded.max_length, max_tokens, loaded.num_ids)
        self._forward = forward = forward or Forward(loaded)
        self._rows = Rows(max_tokens, max_sequences, loaded.max_length)
        self._sequences: dict[int, Told] = {}
        self._holders = count()
        self._switch = rope_switch(loaded.model.config)
        self._prefixes = Prefixes(self._rows, self._sequences, self._switch)
        self._padding = _PADDING.get(loaded.device.type, max(_PADDING.values()))
        self.cache_use = cache_use or self._choose(cuda_graphs)

    def _choose(self, cuda_graphs: bool) -> CacheUse:
        """The best use of the cache; settles which code computes the forward passes."""
        loaded, forward = self._loaded, self._forward

        def small(use: CacheUse) -> ModelRunner:
            return ModelRunner(
                loaded, max_tokens=256, max_sequences=4, cache_use=use, forward=forward
            )

        has_lean = forward.is_lean
        recorder = recorder_for(loaded.device) if cuda_graphs and has_lean else None
        if recorder is None and has_lean:
            use_lean_if_faster(loaded, forward, small(CacheUse.BATCHED))
        use = choose_cache(loaded, forward, small)
        if recorder is not None and forward.is_lean:
            check_graphs(loaded, forward.use_graphs(recorder), lambda: small(use))
        elif cuda_graphs:
            reason = f"it runs on {loaded.device}" if has_lean and not recorder else _NOT_LEAN
            logger.warning("%s runs without CUDA graphs: %s", loaded.name, reason)
        return use

    @property
    def num_reused_ids(self) -> int:
        """Ids whose keys and values were taken from another sequence so far."""
        return self._prefixes.num_reused_ids

    @property
    def kv_bytes(self) -> int:
        """Of all keys and values, at most; 0 before the first pass has shown their sizes."""
        return self._rows.max_bytes

    @torch.inference_mode()
    def extend(self, batch: Sequence[Extend]) -> list[torch.Tensor | MemberError]:
        """Float32 logits [len(positions), Vm] per item, on the device of the model's output.

        An item that cannot be computed is answered by an error (UnknownSequence if it keeps more
        ids than its sequence was told) and tells nothing; the others are computed.  If the pass
        itself fails, that is raised, and every sequence consists of what it did before.

        Raises:
            MemberError: the batch names a sequence twice.
        """
        if len({item.sequence for item in batch}) < len(batch):
            raise MemberError("a batch names a sequence twice")
        errors = [self._limits.error_of(item, self._sequences.get(item.sequence)) for item in batch]
        sound = [item for item, error in zip(batch, errors, strict=True) if error is None]
        logits = iter(self._compute(sound))
        return [error or next(logits) for error in errors]

    def _compute(self, items: Sequence[Extend]) -> list[torch.Tensor]:
        """The logits of items that can be computed."""
        staged = [stages(item, self._ids(item.sequence), self._switch) for item in items]
        jobs: list[Job] = []
        try:
            for batch in ([one[0] for one in staged if len(one) > 1], [one[-1] for one in staged]):
                told = len(jobs)
                jobs.extend(self._tell(item) for item in batch)
                for part in self._parts([job for job in jobs[told:] if job.remaining]):
                    self._run(part)
        except BaseException:
            # Rows may be half moved or half written: nothing of them is trusted again.
            self._prefixes.reset()
            for job in reversed(jobs):
                job.take_back()
            raise
        by_sequence: dict[int, list[Job]] = {item.sequence: [] for item in items}
        for job in jobs:
            by_sequence[job.sequence].append(job)
        num_logits, device = self._loaded.num_logits, self._loaded.device
        return [answer_of(item, by_sequence[item.sequence], num_logits, device) for item in items]

    def _ids(self, sequence: int) -> Sequence[int]:
        told = self._sequences.get(sequence)
        return told.ids if told else ()

    def release(self, sequences: Iterable[int]) -> None:
        """Forget sequences; unknown ones are ignored.

        What was computed may serve others that begin alike, as long as nobody needs the room.
        """
        for sequence in sequences:
            told = self._sequences.pop(sequence, None)
            if told is not None:
                self._prefixes.keep(told)

    def _tell(self, item: Extend) -> Job:
        told = self._sequences.get(item.sequence)
        if told is None:
            told = self._sequences[item.sequence] = Told(next(self._holders))
        is_long = self._is_long(len(told.ids))
        if told.holder not in self._rows:
            told.computed = 0
        job = tell(item, told)
        if self._is_long(job.length) != is_long:
            told.computed = 0
        return job

    def _is_long(self, length: int) -> bool:
        """Whether a sequence is so long that the model rotates all keys by other frequencies."""
        return self._switch is not None and length > self._switch

    def _parts(self, jobs: list[Job]) -> list[list[Job]]:
        """The jobs in parts that fit into memory at once; sorted by length if there are several."""
        if self._fits(jobs):
            return [jobs] if jobs else []
        parts: list[list[Job]] = [[]]
        for job in sorted(jobs, key=lambda job: job.length):
            if not self._fits([*parts[-1], job]):
                parts.append([])
            parts[-1].append(job)
        return parts

    def _fits(self, jobs: Sequence[Job]) -> bool:
        longest = max((job.length for job in jobs), default=0)
        return self.cache_use is CacheUse.NONE or self._rows.fits(len(jobs), longest)

    def _run(self, jobs: Sequence[Job]) -> None:
        """Compute all ids of jobs that fit into memory at once."""
        if self.cache_use is CacheUse.NONE:
            for job in jobs:
                self._run_fresh(job)
            return
        for job in jobs:
            if job.holder not in self._rows:
                job.told.computed = 0  # evicted for an earlier part of the batch
        self._prefixes.inherit(jobs)
        self._prefixes.forget(self._rows.reserve({job.holder: job.length for job in jobs}))
        waiting = list(jobs)
        while waiting:
            for group in self._groups(self._prefixes.ready(waiting)):
                self._run_group(group)
            waiting = [job for job in waiting if job.remaining]

    def _run_fresh(self, job: Job) -> None:
        job.told.computed = 0
        if job.wanted:
            job.pieces.append(self._forward.fresh(self._chunk(job)))

    def _groups(self, jobs: Sequence[Job]) -> Iterator[list[Job]]:
        """Jobs whose next chunks go into one pass: few padded ids, all long or none."""
        if self.cache_use is CacheUse.ONE_BY_ONE or len(jobs) <= 1:
            yield from ([job] for job in jobs)
            return
        group: list[Job] = []
        total, group_is_long = 0, False
        for job in sorted(jobs, key=lambda job: (self._is_long(job.length), self._size(job))):
            size, is_long = self._size(job), self._is_long(job.length)
            width = (len(group) + 1) * size
            is_full = width - total - size > self._padding or width > _PASS
            if group and (is_full or is_long != group_is_long):
                yield group
                group, total = [], 0
            group.append(job)
            total, group_is_long = total + size, is_long
        yield group

    def _size(self, job: Job) -> int:
        """How many ids of a job the next pass computes: all if it is long, see `_is_long`."""
        if self.cache_use is CacheUse.NONE or self._is_long(job.length):
            return job.remaining
        return min(job.remaining, _CHUNK)

    def _chunk(self, job: Job) -> Chunk:
        start = job.told.computed
        ids = job.told.ids[start : start + self._size(job)].tolist()
        wanted = [p - 1 - start for p in job.wanted if start < p <= start + len(ids)]
        return Chunk(start, ids, wanted)

    def _run_group(self, group: Sequence[Job]) -> None:
        """One forward pass."""
        first = self._rows.arrange([job.holder for job in group])
        jobs = sorted(group, key=lambda job: self._rows.row_of(job.holder))
        chunks = [self._chunk(job) for job in jobs]
        logits = self._forward.cached(self._rows.cache, first, chunks)  # [N, Vm]
        done = 0
        for job, chunk in zip(jobs, chunks, strict=True):
            if chunk.wanted:
                job.pieces.append(logits[done : done + len(chunk.wanted)])
                done += len(chunk.wanted)
            job.told.computed = chunk.stop
