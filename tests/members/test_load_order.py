"""How many threads a member's model gets: those configured, else its share of the cores."""

import pytest

from gac.config import EngineConfig, MemberConfig
from gac.errors import MemberError
from gac.members import loader
from gac.members.loader import MemberLoader, load_order


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
