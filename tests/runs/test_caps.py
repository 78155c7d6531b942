"""What an attempt is given of each cap, what breaks which, and how amounts are written. Pure."""

from __future__ import annotations

from typing import Any

import pytest

from runs.caps import Account, Share, Unit, breach_of, share, shown

LIMITS: dict[str, Any] = {"max_attempt_tokens": 100}


def account(level: str, cap: int, used: int = 0, held: int = 0, unit: Unit = "tokens") -> Account:
    return Account(f"{level}_cap", level, unit, cap, used, held)


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "$0.00"), (1, "$0.000001"), (1_200_000, "$1.20"), (495_000, "$0.495"), (2_500_000_000_000, "$2,500,000.00")],
)  # fmt: skip
def test_money_is_written_to_the_millionth_and_never_less_than_cents(amount: int, text: str) -> None:
    assert shown("micro_usd", amount) == text


@pytest.mark.parametrize(
    ("found", "given"),
    [
        ([], Share(100, "max_attempt_tokens")),
        ([account("phase", 1000)], Share(100, "max_attempt_tokens")),
        # the phase's rest is given out, the tier's and the run's must hold a whole share
        ([account("phase", 1000, 950)], Share(50, "phase_cap")),
        ([account("phase", 1000, 950, 50)], Share(0, "phase_cap")),
        ([account("phase", 1000, 1200)], Share(0, "phase_cap")),
        ([account("phase", 1000), account("tier", 30), account("run", 20)], Share(100, "max_attempt_tokens")),
        ([account("phase", 5, unit="micro_usd")], Share(100, "max_attempt_tokens")),
    ],
)
def test_an_attempt_is_given_its_share_or_what_its_phase_has_left(found: list[Account], given: Share) -> None:
    assert share(found, LIMITS, "tokens") == given


def test_an_attempt_that_nothing_of_its_phase_limits_is_given_what_is_left_elsewhere() -> None:
    unlimited = {"max_attempt_tokens": "unlimited"}
    assert share([], unlimited, "tokens") == Share(None, "")
    assert share([account("tier", 70), account("run", 50, 20)], unlimited, "tokens") == Share(30, "run_cap")
    assert share([account("tier", 10), account("run", 50, 20)], unlimited, "tokens") == Share(10, "tier_cap")


@pytest.mark.parametrize(
    ("found", "limit"),
    [
        ([account("phase", 1000, 999)], None),
        ([account("phase", 1000, 1000)], "phase_cap"),
        # what is held may come back: it is no breach
        ([account("phase", 1000, 0, 1000), account("run", 100, 0, 100)], None),
        ([account("phase", 1000), account("run", 100, 0)], None),
        ([account("phase", 1000), account("run", 100, 1)], "run_cap"),
        # only as much as the phase itself has left is needed
        ([account("phase", 1000, 990), account("run", 1000, 990)], None),
        ([account("phase", 1000), account("tier", 500, 450), account("run", 500, 450)], "tier_cap"),
        ([account("phase", 1000), account("phase", 9, 9, unit="micro_usd")], "phase_cap"),
        ([account("phase", 0)], "phase_cap"),
    ],
)
def test_a_cap_breaks_when_what_is_spent_leaves_too_little(found: list[Account], limit: str | None) -> None:
    breach = breach_of(found, LIMITS)
    assert (breach.limit if breach else None) == limit


def test_a_share_of_nothing_is_a_breach_and_never_a_wait() -> None:
    breach = breach_of([account("phase", 1000)], {"max_attempt_tokens": 0})
    assert breach is not None
    assert (breach.limit, breach.level) == ("max_attempt_tokens", "phase")


def test_of_caps_that_are_spent_the_run_s_is_the_cause() -> None:
    """A phase is never promised more than its run has: that its own cap is spent too is no cause."""
    breach = breach_of([account("phase", 60, 70), account("tier", 180, 70), account("run", 60, 70)], LIMITS)
    assert breach is not None
    assert (breach.limit, breach.detail) == ("run_cap", "70 of 60 tokens are spent")
    breach = breach_of([account("phase", 0), account("tier", 0), account("run", 60)], LIMITS)
    assert breach is not None
    assert breach.limit == "phase_cap", "a tier's cap is made of its phases'"
