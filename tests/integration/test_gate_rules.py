"""What the tries of a gate add up to, as a table."""

from __future__ import annotations

import pytest

from integration.gate_rules import decide

R, G, I = "red", "green", "infra_failed"  # noqa: E741


@pytest.mark.parametrize(
    ("tries", "most", "verdict"),
    [
        ([], 3, None),
        ([G], 3, "green"),
        ([R], 3, None),
        ([R], 2, "red"),  # two greens can't follow any more
        ([R], 1, "red"),
        ([R, R], 3, "red"),
        ([R, G], 3, None),
        ([R, G], 2, "red"),
        ([R, G, G], 3, "flaky"),
        ([R, G, R], 3, "red"),
        ([I], 3, "infra_failed"),
        ([R, I], 3, "infra_failed"),
        ([R, G, I], 3, "infra_failed"),
    ],
)
def test_tries_add_up_to(tries: list[str], most: int, verdict: str | None) -> None:
    assert decide([{"verdict": one} for one in tries], most) == verdict
