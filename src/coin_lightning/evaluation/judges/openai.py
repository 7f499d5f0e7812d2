"""`judge=openai`: any server with OpenAI's chat completions: a local vLLM or `transformers serve`, or a service."""

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Annotated, Any

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from coin_lightning.errors import ConfigError, JudgeError
from coin_lightning.evaluation.judges.base import Judge, JudgeRequest, Reply
from coin_lightning.evaluation.judges.budget import Budget
from coin_lightning.evaluation.judges.endpoint import Completion, Endpoint


class OpenAIJudge(Judge):
    """A served model, asked by several requests at once.

    Failures that may pass (no connection, timeouts, 408, 409, 425, 429, 5xx, garbled bodies) are tried again with
    growing, random pauses; others stop at once. When it stops, replies under way are still taken.

    Args:
        model: name by which the server knows the model.
        base_url, api_key_env, timeout, retries, backoff: see `Endpoint`.
        name, variant: see `Judge`.
        version: what to record as the model's version; null records what the server says.
        temperature, top_p, max_tokens, seed: sent with each request; null sends none.
        extra: further fields of the request, e.g. {repetition_penalty: 1.05} for vLLM.
        concurrency: requests under way at once.
        max_requests, max_total_tokens, max_cost, prompt_price, reply_price: see `Budget`.

    Raises:
        ConfigError: a value is out of range.
    """

    kind = "openai"

    def __init__(
        self,
        model: str,
        base_url: str = "http://127.0.0.1:8000/v1",
        api_key_env: str | None = "OPENAI_API_KEY",
        name: str | None = None,
        variant: str = "strict",
        version: str | None = None,
        temperature: NonNegativeFloat | None = 0.0,
        top_p: Annotated[float, Field(gt=0, le=1)] | None = None,
        max_tokens: PositiveInt | None = 20,
        seed: int | None = None,
        extra: dict[str, Any] | None = None,
        concurrency: PositiveInt = 8,
        timeout: PositiveFloat = 60.0,
        retries: NonNegativeInt = 5,
        backoff: NonNegativeFloat = 1.0,
        max_requests: PositiveInt | None = None,
        max_total_tokens: PositiveInt | None = None,
        max_cost: PositiveFloat | None = None,
        prompt_price: NonNegativeFloat = 0.0,
        reply_price: NonNegativeFloat = 0.0,
    ) -> None:
        super().__init__(model, name, variant)
        if concurrency < 1:
            raise ConfigError(f"judge.concurrency={concurrency} must be at least 1")
        self.version, self.temperature, self.seed, self.concurrency = version, temperature, seed, concurrency
        sent = {"top_p": top_p, "max_tokens": max_tokens, **(extra or {})}
        self.sent = {name: value for name, value in sent.items() if value is not None}
        self.budget = Budget(max_requests, max_total_tokens, max_cost, prompt_price, reply_price)
        self.endpoint = Endpoint(base_url, api_key_env, timeout, retries, backoff, self.budget)

    def settings(self) -> dict[str, Any]:
        """Where the server stands is no part of it: a model may move without being asked again."""
        fixed = {"temperature": self.temperature, "seed": self.seed}
        return {"version": self.version, **fixed, "settings": dict(self.sent)}

    def judge(self, requests: Sequence[JudgeRequest]) -> Iterator[Reply]:
        """See `Judge.judge`."""
        waiting = iter(enumerate(requests))
        under_way: dict[Future[Completion], int] = {}
        failure: JudgeError | None = None
        self.endpoint.stopped.clear()
        with ThreadPoolExecutor(self.concurrency, thread_name_prefix="judge") as pool:
            try:
                while True:
                    while failure is None and len(under_way) < self.concurrency and (following := next(waiting, None)):
                        index, request = following
                        under_way[pool.submit(self.endpoint.complete, self._payload(request))] = index
                    if not under_way:
                        break
                    for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                        index = under_way.pop(future)
                        error = future.exception()
                        if error is None:
                            yield Reply(index, future.result().text, future.result().version)
                        elif not isinstance(error, JudgeError):
                            raise error
                        else:
                            failure = failure or error
                            self.endpoint.stopped.set()  # the others get what is on its way, and try no more
            finally:
                self.endpoint.stopped.set()
        if failure is not None:
            raise failure

    def _payload(self, request: JudgeRequest) -> dict[str, Any]:
        fields = {"temperature": self.temperature, "seed": self.seed}
        given = {name: value for name, value in fields.items() if value is not None}
        return {"model": self.model, "messages": list(request.messages), **given, **self.sent}
