# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium, spoken to in its DevTools protocol through a pair of pipes."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe"),
    "--enable-unsafe-swiftshader",  # WebGL without a graphics card
)


class Page:
    """A page of the browser.

    Attributes:
        complaints: what the console and the log of the page said.
        errors: of these, errors of the console and exceptions that nobody caught.
    """

    def __init__(self, write: int, read: int, seconds: float) -> None:
        self._write, self._read, self._seconds = write, read, seconds
        self._buffer, self._number = b"", 0
        self._session: str | None = None
        self._loaded = False
        self.complaints: list[str] = []
        self.errors: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and wait for its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        content = memoryview(json.dumps(message).encode() + b"\0")
        while content:
            content = content[os.write(self._write, content) :]
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def _receive(self) -> dict[str, Any]:
        end = time.monotonic() + self._seconds
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], max(end - time.monotonic(), 0.0))[0]:
                raise TimeoutError(f"Chromium has not answered for {self._seconds:.0f} s.")
            part = os.read(self._read, 2**20)
            if not part:
                raise ConnectionError("Chromium has ended.")
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        content: dict[str, Any] = json.loads(message)
        self._note(content.get("method"), content.get("params", {}))
        return content

    def _note(self, event: str | None, params: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Runtime.consoleAPICalled":
            words = " ".join(str(a.get("value", a.get("description"))) for a in params["args"])
            self.complaints.append(words)
            if params["type"] == "error":
                self.errors.append(words)
        elif event == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            words = " ".join((details["text"], details.get("exception", {}).get("description", ""))).strip()
            self.complaints.append(words)
            self.errors.append(words)
        elif event == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])

    def open(self, path: Path | str, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Open a file or an address on a screen of so many CSS pixels, and wait until it is loaded."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self._loaded = False
        self.call("Page.navigate", url=path if isinstance(path, str) else path.resolve().as_uri())
        while not self._loaded:
            self._receive()

    def value(self, expression: str) -> Any:
        """Value of a JavaScript expression on the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait(self, expression: str) -> None:
        """Wait until a JavaScript expression is true.

        Raises:
            TimeoutError: when it has not become so in the browser's time, with what the page shows.
        """
        end = time.monotonic() + self._seconds
        while not self.value(f"!!({expression})"):
            if time.monotonic() > end:
                shown = self.value("document.body.innerText")
                raise TimeoutError(f"not so after {self._seconds:.0f} s: {expression}\n{shown}\n{self.errors}")
            time.sleep(0.1)

    def click(self, element: str) -> None:
        """Wait for an element, the value of a JavaScript expression, and click on its middle once it keeps still."""
        self.wait(element)
        middle = f"(r => ({{x: r.x + r.width / 2, y: r.y + r.height / 2}}))(({element}).getBoundingClientRect())"
        before, where = None, self.value(middle)
        while where != before:
            time.sleep(0.2)
            before, where = where, self.value(middle)
        for event in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=event, button="left", clickCount=1, **where)

    def write(self, element: str, text: str) -> None:
        """Replace the text of an input, as with the keyboard."""
        self.click(element)
        self.value(f"({element}).select()")
        self.call("Input.insertText", text=text)

    def screenshot(self, path: Path) -> None:
        """Save a picture of the whole page, not only of what the screen shows."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def browser(profile: Path, *, seconds: float = 120.0) -> Iterator[Page]:
    """A browser with an empty profile, which ends with the block.

    Args:
        profile: folder for its profile; made.
        seconds: to wait for an answer.

    Raises:
        RuntimeError: when there is no Chromium.
    """
    if CHROMIUM is None:
        raise RuntimeError("there is no chromium on the PATH: install it, on Debian with apt-get install chromium.")
    in_read, in_write = os.pipe()
    out_read, out_write = os.pipe()

    def connect() -> None:  # Chromium reads from 3 and writes to 4
        numbers = [os.dup(in_read), os.dup(out_write)]
        spare = [os.dup2(n, 100 + k) for k, n in enumerate(numbers)]
        for k, n in enumerate(spare):
            os.dup2(n, 3 + k)
            os.set_inheritable(3 + k, True)

    command = [CHROMIUM, *_FLAGS, f"--user-data-dir={profile}"]
    with (profile.parent / f"{profile.name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, close_fds=False, preexec_fn=connect
        )
    os.close(in_read)
    os.close(out_write)
    try:
        yield Page(in_write, out_read, seconds)
    finally:
        os.close(in_write)  # it ends where nobody speaks to it any more
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(out_read)
