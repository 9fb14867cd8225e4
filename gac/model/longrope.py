"""An item whose sequence crosses longrope's switch, in two stages.

A model with longrope rotates every position by other frequencies once a sequence is longer than its
`original_max_position_embeddings`.  One pass over ids on both sides of that length would give the
rows before it from the frequencies behind it.  Knows ids and positions only.
"""

from collections.abc import Sequence

from gac.core import Extend


def stages(item: Extend, known: Sequence[int], switch: int | None) -> list[Extend]:
    """The items to run one after the other, so that each row is that of its ids alone.

    `known` are the ids that the sequence was told before.  The first stage has the rows up to
    `switch`, the second tells all ids; mostly there is one stage, the item itself.
    """
    length = item.kept + len(item.tail)
    early = [position for position in item.positions if switch and position <= switch]
    if switch is None or length <= switch or not early:
        return [item]
    ids, last = (*known[: item.kept], *item.tail), max(early)
    kept = min(item.kept, last)
    late = tuple(position for position in item.positions if position > switch)
    return [
        Extend(item.sequence, kept, ids[kept:last], tuple(early)),
        Extend(item.sequence, last, ids[last:], late),
    ]
