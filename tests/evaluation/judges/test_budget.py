"""Limits on requests, tokens and cost."""

import pytest

from coin_lightning.errors import ConfigError, JudgeError
from coin_lightning.evaluation.judges.budget import Budget


def test_without_limits_all_is_counted_and_nothing_stops():
    budget = Budget(prompt_price=2.0, reply_price=8.0)
    for _ in range(3):
        budget.take()
        budget.spend(1000, 10)
    assert (budget.requests, budget.prompt_tokens, budget.reply_tokens) == (3, 3000, 30)
    assert budget.cost == pytest.approx(3 * (1000 * 2 + 10 * 8) / 1e6)
    assert budget.summary() == "3 requests, 3,030 tokens, cost 0.0062"
    assert Budget().summary() == "0 requests, 0 tokens"


def test_requests_stop_exactly():
    budget = Budget(max_requests=2)
    budget.take()
    budget.take()
    with pytest.raises(
        JudgeError, match=r"judge\.max_requests=2 is spent \(2 requests, 0 tokens\)\. All replies so far"
    ):
        budget.take()
    assert budget.requests == 2


@pytest.mark.parametrize(
    ("limits", "name"),
    [({"max_total_tokens": 20}, "max_total_tokens=20"), ({"max_cost": 2e-5, "prompt_price": 1.0}, r"max_cost=2e-05")],
)
def test_tokens_and_cost_stop_behind_the_reply_that_reached_them(limits: dict, name: str):
    budget = Budget(**limits)
    for _ in range(2):
        budget.take()
        budget.spend(10, 0)
    with pytest.raises(JudgeError, match=rf"judge\.{name} is spent"):
        budget.take()


def test_a_cost_needs_prices():
    with pytest.raises(ConfigError, match=r"judge\.max_cost needs judge\.prompt_price"):
        Budget(max_cost=1.0)


def test_a_server_that_counts_no_tokens_cannot_be_limited_by_them():
    budget = Budget(max_total_tokens=100)
    budget.take()
    budget.spend(0, 0)
    with pytest.raises(JudgeError, match=r"does not say how many tokens.*limit judge\.max_requests"):
        budget.take()
    free = Budget(max_requests=5)
    free.spend(0, 0)
    free.take()
