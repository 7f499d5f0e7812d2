"""A server on loopback that takes what `wandb-workspaces` saves, and nothing else of W&B."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeWandb:
    """`views`: by type (`project-view`, `runs`), the variables of what was saved.

    Args:
        refuses: answer to everything, in place of the data.
    """

    def __init__(self, refuses: str | None = None) -> None:
        self.views: dict[str, dict[str, Any]] = {}
        self.refuses = refuses
        self.url = ""

    def data(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """The answer to a GraphQL request."""
        if "upsertView" in query:
            self.views[variables["type"]] = variables
            project = {"id": "UA==", "name": variables["projectName"], "entityName": variables["entityName"]}
            view = {"id": f"view-{variables['type']}", "createdAt": None, "updatedAt": None, "project": project}
            named = {key: variables.get(key) for key in ("type", "name", "displayName", "description", "spec")}
            return {"upsertView": {"view": view | named, "inserted": True}}
        if "ProjectInternalId" in query:
            return {"project": {"id": "UA==", "internalId": "UA=="}}
        if "viewer" in query:
            return {"viewer": {"id": "1", "entity": "me", "defaultEntity": {"name": "me"}, "flags": "{}"}}
        node = {"id": "UA==", "name": "p", "entityName": "me", "createdAt": "", "isBenchmark": False, "user": None}
        edges = [{"node": node, "cursor": "1"}]
        return {"models": {"edges": edges, "pageInfo": {"endCursor": "1", "hasNextPage": False}}}

    @contextmanager
    def served(self) -> Iterator["FakeWandb"]:
        """Answers while the block lasts."""
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                """One request."""
                content = self.rfile.read(int(self.headers["Content-Length"]))
                sent = json.loads(content) if self.path == "/graphql" else {}  # else what the library tells of itself
                body = {"data": fake.data(sent.get("query", ""), sent.get("variables") or {})}
                if fake.refuses:
                    body = {"errors": [{"message": fake.refuses}]}
                content = json.dumps(body).encode()
                self.send_response(400 if fake.refuses else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
