"""A headless Firefox, driven by WebDriver BiDi without geckodriver, with or without a device for sound."""

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from browser import WATCH_SOUND, need

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
PREFERENCES = {
    "app.normandy.enabled": False,
    "browser.safebrowsing.downloads.remote.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
}


@contextlib.contextmanager
def start_firefox(folder: Path, *, sound: bool) -> Iterator["Firefox"]:
    """Start Firefox with a new profile in a folder; `need` says what happens where it is missing."""
    missing = [] if FIREFOX else ["firefox-esr"]
    missing += [] if not sound or shutil.which("pulseaudio") else ["pulseaudio"]
    missing += [] if importlib.util.find_spec("websocket") else ["websocket-client"]
    need(missing)
    with _null_device(folder) if sound else contextlib.nullcontext({}) as environment:
        preferences = PREFERENCES | ({} if sound else {"media.cubeb.force_null_context": True})
        profile = folder / "profile"
        profile.mkdir(parents=True)
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items()]
        (profile / "user.js").write_text("".join(lines), encoding="utf-8")
        command = [FIREFOX, "--headless", "--no-remote", "--remote-debugging-port", "0", "--profile", str(profile)]
        with (folder / "firefox.log").open("w") as log:
            process = subprocess.Popen(command, env=os.environ | environment, stdout=log, stderr=log)
        try:
            address = profile / "WebDriverBiDiServer.json"
            _wait_for(address, process)
            where = json.loads(address.read_text(encoding="utf-8"))
            yield Firefox(f"ws://{where['ws_host']}:{where['ws_port']}/session")
        finally:
            process.terminate()
            process.wait(timeout=60)


@contextlib.contextmanager
def _null_device(folder: Path) -> Iterator[dict[str, str]]:
    """Run PulseAudio with a sink that swallows all sound; yields the environment by which Firefox finds it."""
    folder.mkdir(parents=True, exist_ok=True)
    socket = folder / "sound.socket"
    modules = ["module-null-sink", f"module-native-protocol-unix auth-anonymous=1 socket={socket}"]
    command = ["pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1"]
    home = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    process = subprocess.Popen(
        [*command, *(f"--load={module}" for module in modules)], env=os.environ | home, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(socket, process)
        yield {"PULSE_SERVER": f"unix:{socket}"}
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_for(path: Path, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """Wait for a file that a process makes when it is ready."""
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, f"{process.args} has ended"
        assert time.monotonic() < deadline, f"no {path} within {seconds} s"
        time.sleep(0.05)


class Firefox:
    """A tab, with the few commands that a `Listener` needs, named as in Selenium."""

    def __init__(self, address: str) -> None:
        import websocket

        self.connection = websocket.create_connection(address, suppress_origin=True, timeout=60)
        self.sent = 0
        self.command("session.new", capabilities={})
        self.command("script.addPreloadScript", functionDeclaration=f"() => {{ {WATCH_SOUND} }}")
        self.tab = self.command("browsingContext.create", type="tab")["context"]
        self.command("browsingContext.setViewport", context=self.tab, viewport={"width": 1000, "height": 900})

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of WebDriver BiDi and return its result."""
        self.sent += 1
        self.connection.send(json.dumps({"id": self.sent, "method": method, "params": parameters}))
        while (message := json.loads(self.connection.recv())).get("id") != self.sent:
            pass
        assert message["type"] == "success", message
        return message["result"]

    def get(self, url: str) -> None:
        self.command("browsingContext.navigate", context=self.tab, url=url, wait="complete")

    def refresh(self) -> None:
        self.command("browsingContext.reload", context=self.tab, wait="complete")

    def execute_script(self, code: str, *arguments: Any) -> Any:
        """Run the body of a function; what it returns, or promises, travels as JSON."""
        wrapped = f"""async (given) => {{
          const value = await (function () {{ {code} }}).apply(null, JSON.parse(given));
          return JSON.stringify(value ?? null);
        }}"""
        answer = self.command(
            "script.callFunction",
            functionDeclaration=wrapped,
            arguments=[{"type": "string", "value": json.dumps(arguments)}],
            target={"context": self.tab},
            awaitPromise=True,
        )
        assert answer["type"] == "success", answer
        return json.loads(answer["result"]["value"])

    def press(self, *keys: str) -> None:
        """Press keys one after the other."""
        actions = [{"type": kind, "value": key} for text in keys for key in text for kind in ("keyDown", "keyUp")]
        self._act({"type": "key", "id": "keys", "actions": actions})

    def click(self, x: float, y: float) -> None:
        """Click at a place in the window."""
        move = {"type": "pointerMove", "x": round(x), "y": round(y)}
        press = [{"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp")]
        self._act({"type": "pointer", "id": "mouse", "actions": [move, *press]})

    def _act(self, source: dict[str, Any]) -> None:
        self.command("input.performActions", context=self.tab, actions=[source])
