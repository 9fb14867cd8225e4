"""How many examples hypothesis draws: a few by default, all of them with the profile `thorough`.

`pytest --hypothesis-profile=thorough` is what `.ci/run` calls; the few are for a person who waits.
"""

from typing import Any

from hypothesis import HealthCheck, settings

QUICK_SHARE = 0.15
"""Of the examples that the thorough profile draws, and at least five."""
_SHARED: dict[str, Any] = {"deadline": None, "derandomize": True, "database": None}


def register_profiles() -> None:
    """Make the profiles known, and the quick one the default."""
    checks = list(HealthCheck)
    settings.register_profile("quick", suppress_health_check=checks, **_SHARED)
    settings.register_profile("thorough", suppress_health_check=checks, **_SHARED)
    settings.load_profile("quick")


def is_thorough() -> bool:
    """Whether all examples are wanted."""
    return settings.get_current_profile_name() == "thorough"


def examples(count: int) -> settings:
    """Settings that draw `count` examples where all are wanted, else a share of them."""
    return settings(max_examples=count if is_thorough() else max(5, round(count * QUICK_SHARE)))
