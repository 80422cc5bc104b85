"""A headless Chromium that pages are opened and clicked in, as a person would. It is spoken to through two pipes."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
PATIENCE = 60.0  # seconds
CODES = {
    "Backspace": 8, "Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39,
    "ArrowDown": 40,
}  # fmt: skip


class BetweenPagesError(Exception):
    """The page that was asked is just left for another one."""


class Browser:
    """One tab. Close it when done."""

    def __init__(self, profile: Path, width: int = 1280, height: int = 800) -> None:
        reading, theirs = os.pipe()
        ours, writing = os.pipe()
        options = [*OPTIONS, "--remote-debugging-pipe", f"--user-data-dir={profile}", f"--window-size={width},{height}"]
        pipes = f'exec "$0" "$@" 3<&{ours} 4>&{theirs}'  # the numbers that Chromium expects
        self._process = subprocess.Popen(
            ["bash", "-c", pipes, str(CHROMIUM), *options, "about:blank"],
            pass_fds=(ours, theirs),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(ours)
        os.close(theirs)
        self._reading, self._writing = os.fdopen(reading, "rb"), os.fdopen(writing, "wb")
        self._asked, self._session = 0, ""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def open(self, address: str) -> None:
        """Go to a page and wait for it."""
        self._ask("Page.navigate", url=address)
        self.expect("document.readyState === 'complete' && location.href !== 'about:blank'")

    def click(self, element: str) -> None:
        """Click into the middle of an element, which is an expression of JavaScript; it has to be in sight."""
        point = self.evaluate(
            f"""(() => {{
                const one = {element};
                one.scrollIntoView({{block: "center"}});
                const box = one.getClientRects()[0];
                const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
                return one.contains(document.elementFromPoint(x, y)) ? [x, y] : null;
            }})()"""
        )
        assert point, f"nothing to click at {element}"
        for kind in ("mousePressed", "mouseReleased"):
            self._ask("Input.dispatchMouseEvent", type=kind, x=point[0], y=point[1], button="left", clickCount=1)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript."""
        return self._ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def resize(self, width: int, height: int, touch: bool = False) -> None:
        """Show pages in so many pixels, as a phone does or as a screen."""
        options = {"width": width, "height": height, "deviceScaleFactor": 2 if touch else 1, "mobile": touch}
        self._ask("Emulation.setDeviceMetricsOverride", **options)

    def prefer(self, **features: str) -> None:
        """What the user prefers, such as `prefers_color_scheme="dark"`."""
        listed = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self._ask("Emulation.setEmulatedMedia", features=listed)

    def choose_file(self, element: str, path: Path) -> None:
        """Give a file to an input, which is an expression of JavaScript, as its dialogue would."""
        found = self._ask("Runtime.evaluate", expression=element)["result"]
        self._ask("DOM.setFileInputFiles", files=[str(path.resolve())], objectId=found["objectId"])

    def type(self, text: str) -> None:
        """Type letters where the focus is."""
        for letter in text:
            self.press(letter, text=letter)

    def press(self, key: str, text: str = "", modifiers: int = 0) -> None:
        """Press and release a key, such as `Tab`, `Enter` or `j`; modifiers: 8 is shift."""
        other = ord(key.upper()) if len(key) == 1 and key.isalnum() else 0
        code = CODES.get(key, other)
        text = text or {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        options = {"key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        self._ask("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **options)
        self._ask("Input.dispatchKeyEvent", type="keyUp", **options)

    def picture(self) -> bytes:
        """A PNG of what is in sight."""
        return base64.b64decode(self._ask("Page.captureScreenshot", format="png")["data"])

    def expect(self, condition: str) -> None:
        """Wait until a condition holds."""
        end = time.monotonic() + PATIENCE
        while not self._holds(condition):
            assert time.monotonic() < end, condition
            time.sleep(0.05)

    def _holds(self, condition: str) -> bool:
        try:
            return bool(self.evaluate(condition))
        except BetweenPagesError:
            return False

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        self._process.wait(PATIENCE)
        self._reading.close()
        self._writing.close()

    def _ask(self, method: str, **parameters: object) -> dict[str, Any]:
        self._asked += 1
        session = {"sessionId": self._session} if self._session else {}
        question = {"id": self._asked, "method": method, "params": parameters, **session}
        self._writing.write(json.dumps(question).encode() + b"\0")
        self._writing.flush()
        while True:
            answer = json.loads(self._read())
            if answer.get("id") == self._asked:
                message = answer.get("error", {}).get("message", "")
                if "navigated" in message or "context" in message:
                    raise BetweenPagesError(message)
                assert "error" not in answer, answer
                found: dict[str, Any] = answer["result"]
                return found

    def _read(self) -> bytes:
        found = bytearray()
        while (byte := self._reading.read(1)) != b"\0":
            assert byte, "Chromium has ended"
            found += byte
        return bytes(found)
