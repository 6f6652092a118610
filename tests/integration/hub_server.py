# SPDX-License-Identifier: Apache-2.0
"""A stand-in for the Hugging Face hub: what its client asks when a folder is pushed, answered on this machine."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_LICENCES = {"apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "other"}  # some of the hub's


@dataclass
class Hub:
    """What was pushed.

    Attributes:
        endpoint: address of the server.
        repos: names and visibility of the repositories that were made.
        files: contents by path.
        cards: front matters of the cards that were checked.
        tags: of the commit.
        tokens: that were sent.
    """

    endpoint: str = ""
    repos: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    cards: list[dict[str, Any]] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)

    def answer(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Status and content for a request."""
        what = path.split("?")[0].removeprefix("/api/")
        if what == "repos/create":
            made = json.loads(body)
            self.repos.append(made)
            return 200, {"url": f"{self.endpoint}/{made['organization']}/{made['name']}"}
        if what == "validate-yaml":
            errors = self._check(json.loads(body)["content"])
            return (400 if errors else 200), {"errors": [{"message": error} for error in errors], "warnings": []}
        step = re.fullmatch(r"models/[^/]+/[^/]+/(preupload|commit|tag)/main", what)
        if step and step[1] == "preupload":
            names = [file["path"] for file in json.loads(body)["files"]]
            return 200, {"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]}
        if step and step[1] == "commit":
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return 200, {"commitUrl": f"{self.endpoint}/someone/ronas/commit/0", "commitOid": "0" * 40}
        if step:
            self.tags.append(json.loads(body)["tag"])
            return 200, {}
        return 404, {"error": f"the stand-in knows no {path}"}

    def _check(self, card: str) -> list[str]:
        """What is wrong with the front matter of a card, by the rules of the hub."""
        import yaml  # comes with the hub's client

        found = re.match(r"---\r?\n(.*?)\r?\n---\r?\n", card, flags=re.DOTALL)
        data = yaml.safe_load(found[1]) if found else None
        if not isinstance(data, dict):
            return ["the card has no front matter"]
        self.cards.append(data)
        texts = {key: data.get(key) for key in ("license", "library_name", "pipeline_tag") if key in data}
        faults = [f"'{key}' must be a text" for key, value in texts.items() if not isinstance(value, str)]
        if data.get("license") not in _LICENCES:
            faults.append(f"'license' must be one of the hub's, not {data.get('license')}")
        tags = data.get("tags", [])
        if not isinstance(tags, list) or not all(isinstance(tag, str) and tag for tag in tags):
            faults.append("'tags' must be a list of texts")
        return faults


@contextmanager
def hub_server() -> Iterator[Hub]:
    """Run the stand-in."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            token = self.headers.get("authorization")
            hub.tokens.add(token and token.removeprefix("Bearer "))
            status, content = hub.answer(self.path, self._body())
            told = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def _body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            pieces = []
            while size := int(self.rfile.readline(), 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
