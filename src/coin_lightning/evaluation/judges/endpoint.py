"""One chat completion over HTTP, tried again while there is hope."""

import http.client
import json
import os
import random
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from coin_lightning.errors import ConfigError, JudgeError
from coin_lightning.evaluation.judges.budget import Budget

PASSING = (408, 409, 425, 429)
"""Status codes below 500 that may be gone the next time."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
LONGEST_WAIT = 60.0
"""Seconds; what a server asks for with Retry-After may be longer, up to `LONGEST_ASKED`."""
LONGEST_ASKED = 600.0


@dataclass(frozen=True)
class Completion:
    """Text of a reply, and the model that the server says it came from."""

    text: str
    version: str


class _Passing(Exception):
    """A failure that may pass; `wait` seconds if the server said how long."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another host and the question nowhere."""

    def redirect_request(self, *_: Any) -> None:
        """Refuse; the status then comes back as an error."""


class Endpoint:
    """An OpenAI-compatible server.

    Args:
        base_url: up to and including `/v1`.
        api_key_env: environment variable with the key. It is sent when set, and is written nowhere.
        timeout: seconds without any sign of life until a request counts as failed.
        retries: further attempts for a failure that may pass.
        backoff: seconds before the first of them; doubled each time, and shortened by up to a half at random.
        budget: what may be spent.

    Raises:
        ConfigError: a URL that is no http(s) URL or holds a password, or a value out of range.
    """

    def __init__(
        self, base_url: str, api_key_env: str | None, timeout: float, retries: int, backoff: float, budget: Budget
    ) -> None:
        parts = urllib.parse.urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"judge.base_url={base_url!r} must look like http://127.0.0.1:8000/v1")
        if parts.password or parts.username or parts.query:
            raise ConfigError(
                "judge.base_url must hold no user, password or query: it is written to the run's config. Put the key "
                f"into the environment variable {api_key_env or 'that judge.api_key_env names'}"
            )
        if timeout <= 0 or retries < 0 or backoff < 0:
            raise ConfigError(
                f"judge.timeout={timeout} must be above 0; retries={retries}, backoff={backoff} at least 0"
            )
        self.url = base_url.rstrip("/") + "/chat/completions"
        self.api_key_env, self.timeout, self.retries, self.backoff = api_key_env, timeout, retries, backoff
        self.budget = budget
        self.stopped = threading.Event()
        # what runs on this machine is never behind a proxy, whatever the environment says
        direct = [urllib.request.ProxyHandler({})] if parts.hostname in LOOPBACK else []
        self._opener = urllib.request.build_opener(_NoRedirect, *direct)
        self._random = random.Random()  # its own: training's random state stays untouched

    def complete(self, payload: Mapping[str, Any]) -> Completion:
        """Send one request and give its reply.

        Raises:
            JudgeError: it was refused, failed too often, the budget is spent, or `stopped` was set.
        """
        for attempt in range(self.retries + 1):
            if self.stopped.is_set():
                raise JudgeError(f"{self.url}: stopped")
            self.budget.take()
            try:
                return self._once(payload)
            except _Passing as failure:
                if attempt == self.retries:
                    raise JudgeError(
                        f"{self.url}: {failure}, {self.retries + 1} times. All replies so far are kept; see that the "
                        "server is up and run the same command again."
                    ) from failure
                self.stopped.wait(self._pause(attempt, failure.wait))
        raise AssertionError("unreachable")

    def _pause(self, attempt: int, asked: float | None) -> float:
        own = min(LONGEST_WAIT, self.backoff * 2.0**attempt) * self._random.uniform(0.5, 1.0)
        return max(own, min(asked or 0.0, LONGEST_ASKED))

    def _once(self, payload: Mapping[str, Any]) -> Completion:
        request = urllib.request.Request(self.url, json.dumps(payload).encode(), self._headers(), method="POST")
        try:
            with self._opener.open(request, timeout=self.timeout) as response:
                body = response.read()
        except urllib.error.HTTPError as error:
            raise self._refusal(error) from error
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            reason = getattr(error, "reason", error)
            raise _Passing(f"no reply ({type(reason).__name__}: {reason})") from error
        return self._read(body)

    def _headers(self) -> dict[str, str]:
        key = self._key()
        return {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})

    def _key(self) -> str:
        key = os.environ.get(self.api_key_env, "").strip() if self.api_key_env else ""
        if not (key.isascii() and key.isprintable()):  # the library's own complaint would print it
            raise JudgeError(f"the environment variable {self.api_key_env} holds characters that no key has")
        return key

    def _refusal(self, error: urllib.error.HTTPError) -> Exception:
        with error:
            said = self._clean(error.read(2000))
        reason = f"HTTP {error.code} {error.reason}" + (f": {said}" if said else "")
        if error.code in PASSING or error.code >= 500:
            return _Passing(reason, _retry_after(error.headers.get("Retry-After")))
        return JudgeError(f"{self.url}: {reason}\n{self._remedy(error.code)}")

    def _clean(self, body: bytes) -> str:
        """A server's words in one line, without the key, which some repeat."""
        text = body.decode("utf-8", "replace")
        try:
            data = json.loads(text)
            found = data.get("error", data.get("detail", data)) if isinstance(data, dict) else data
            text = str(found.get("message", found) if isinstance(found, dict) else found)
        except ValueError:
            pass  # not JSON: its text is all there is
        key = self._key()
        return " ".join((text.replace(key, "***") if key else text).split())[:300]

    def _remedy(self, status: int) -> str:
        if status in (401, 403):
            return (
                f"Put a valid key into the environment variable {self.api_key_env or 'that judge.api_key_env names'}."
            )
        if status == 404:
            return "Check judge.base_url (it ends in /v1 for most servers) and judge.model."
        if 300 <= status < 400:
            return "The server redirects elsewhere; give the final address as judge.base_url."
        return "The request is refused as it is; check judge.model and the judge's other settings."

    def _read(self, body: bytes) -> Completion:
        try:
            data = json.loads(body)
            text = data["choices"][0]["message"]["content"]
            usage = data.get("usage") or {}
            tokens = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
            version = " ".join(str(data[name]) for name in ("model", "system_fingerprint") if data.get(name))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise _Passing(f"what came back is no chat completion ({body[:80]!r})") from error
        self.budget.spend(*tokens)
        return Completion(text if isinstance(text, str) else "", version)


def _retry_after(value: str | None) -> float | None:
    """Seconds from now that a Retry-After header asks for, given as a number or as a date."""
    if not value:
        return None
    try:
        return float(value)
    except ValueError:
        pass  # then it is a date
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
