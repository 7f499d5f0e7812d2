"""What a judge may spend before it has to stop."""

import threading
from dataclasses import dataclass, field

from coin_lightning.errors import ConfigError, JudgeError


@dataclass
class Budget:
    """Limits of one command; None is no limit. Safe with several threads.

    Requests are counted before they are sent, retries included, so their limit is exact. Tokens and cost are known
    when a reply is there: they may be exceeded by the requests that are under way at that moment.

    Attributes:
        max_requests: HTTP requests.
        max_total_tokens: tokens of prompts and replies, as the server counts them.
        max_cost: in the currency of the prices. prompt_price, reply_price: per million tokens.
    """

    max_requests: int | None = None
    max_total_tokens: int | None = None
    max_cost: float | None = None
    prompt_price: float = 0.0
    reply_price: float = 0.0
    requests: int = field(default=0, init=False)
    prompt_tokens: int = field(default=0, init=False)
    reply_tokens: int = field(default=0, init=False)
    usage_stated: bool = field(default=True, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.max_cost is not None and not (self.prompt_price or self.reply_price):
            raise ConfigError("judge.max_cost needs judge.prompt_price and judge.reply_price (per million tokens)")

    @property
    def cost(self) -> float:
        """Spent so far, by the prices."""
        return (self.prompt_tokens * self.prompt_price + self.reply_tokens * self.reply_price) / 1e6

    def take(self) -> None:
        """Count one request.

        Raises:
            JudgeError: a limit is reached, or cannot be watched.
        """
        with self._lock:
            if not self.usage_stated and (self.max_total_tokens is not None or self.max_cost is not None):
                raise JudgeError(
                    "the server does not say how many tokens a reply took; limit judge.max_requests instead"
                )
            spent = {
                "max_requests": (self.requests, self.max_requests),
                "max_total_tokens": (self.prompt_tokens + self.reply_tokens, self.max_total_tokens),
                "max_cost": (self.cost, self.max_cost),
            }
            for name, (used, limit) in spent.items():
                if limit is not None and used >= limit:
                    raise JudgeError(
                        f"judge.{name}={limit:g} is spent ({self.summary()}). All replies so far are kept; run the "
                        f"same command again to go on with a fresh budget, or raise judge.{name}."
                    )
            self.requests += 1

    def spend(self, prompt_tokens: int, reply_tokens: int) -> None:
        """Add what a reply took; 0 and 0 is a server that does not tell, which no limit on tokens can live with."""
        with self._lock:
            self.usage_stated = self.usage_stated and prompt_tokens + reply_tokens > 0
            self.prompt_tokens += prompt_tokens
            self.reply_tokens += reply_tokens

    def summary(self) -> str:
        """`12 requests, 3,400 tokens` and the cost where there are prices."""
        cost = f", cost {self.cost:.4f}" if self.prompt_price or self.reply_price else ""
        return f"{self.requests} requests, {self.prompt_tokens + self.reply_tokens:,} tokens{cost}"
