"""How many threads a member's model gets: those configured, else its share of the cores."""

import logging

import pytest

from gac.config import EngineConfig, MemberConfig
from gac.errors import MemberError
from gac.members import loader
from gac.members.loader import MemberLoader, load_order
from gac.members.ray_actor import MemberActor


@pytest.mark.parametrize(
    ("configured", "cores", "members", "expected"),
    [(3, 16, 2, 3), (None, 16, 2, 8), (None, 2, 3, 1), (None, 1, 1, 1)],
)
def test_threads_of_a_member(configured, cores, members, expected, monkeypatch) -> None:
    seen = []

    def load(spec, report) -> None:
        seen.append(spec.num_threads)
        raise MemberError("far enough")

    monkeypatch.setattr(loader, "load_model", load)
    monkeypatch.setattr(loader, "usable_cores", lambda: cores)
    member = MemberConfig(path="x/y", name="ada", num_threads=configured)
    with pytest.raises(MemberError, match="'ada': far enough"):
        MemberLoader(load_order(member, EngineConfig(), members)).load()
    assert seen == [expected]


def test_actor_logs_at_the_level_of_the_server(caplog: pytest.LogCaptureFixture) -> None:
    order = load_order(MemberConfig(path="x/y", name="ada"), EngineConfig(), 1)
    with caplog.at_level(logging.WARNING):  # restores the level
        MemberActor(order, logging.DEBUG)
        assert logging.getLogger("gac.members.host").isEnabledFor(logging.DEBUG)
        MemberActor(order, logging.ERROR)
        assert not logging.getLogger("gac.members.host").isEnabledFor(logging.WARNING)


def test_cuda_graphs_are_ordered_where_they_are_configured() -> None:
    member = MemberConfig(path="x/y", name="ada")
    assert not load_order(member, EngineConfig(), 1).cuda_graphs
    assert load_order(member, EngineConfig(cuda_graphs=True), 1).cuda_graphs
