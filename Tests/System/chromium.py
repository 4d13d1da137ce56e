"""Headless Chromium by the DevTools protocol, over the pipe that --remote-debugging-pipe reads and writes.

Python's standard library alone. https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import json
import os
import subprocess
import tempfile
import threading
import time


class Failed(AssertionError):
    """The browser refused, or what was waited for never came."""


class Browser:
    def __init__(self, program):
        self.directory = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        commands, self.commands = os.pipe()
        self.events, events = os.pipe()
        # Chromium reads commands from descriptor 3 and writes to 4.
        script = f'exec 3<&{commands} 4>&{events}; exec "$0" "$@"'
        options = [
            "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={self.directory.name}", "--disable-gpu",
            "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--force-color-profile=srgb",
            "--font-render-hinting=none",
        ]
        if os.geteuid() == 0:
            options.append("--no-sandbox")
        self.process = subprocess.Popen(
            ["bash", "-c", script, program, *options], pass_fds=(commands, events),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(events)
        self.number = 0
        self.answers = {}
        self.pages = {}
        self.arrived = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def close(self):
        try:
            self.call("Browser.close")
            self.process.wait(10)
        except (Failed, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self.commands)
        self.directory.cleanup()

    def _read(self):
        buffer = b""
        while chunk := os.read(self.events, 1 << 16):
            *messages, buffer = (buffer + chunk).split(b"\0")
            for message in map(json.loads, messages):
                with self.arrived:
                    if "id" in message:
                        self.answers[message["id"]] = message
                        self.arrived.notify_all()
                    elif page := self.pages.get(message.get("sessionId")):
                        page.note(message["method"], message["params"])

    def call(self, method, session=None, **parameters):
        with self.arrived:
            self.number += 1
            number = self.number
        message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        with self.arrived:
            if not self.arrived.wait_for(lambda: number in self.answers, 60):
                raise Failed(f"{method} wasn't answered")
            answer = self.answers.pop(number)
        if "error" in answer:
            raise Failed(f"{method}: {answer['error']}")
        return answer["result"]

    def page(self, url, width=1280, height=900, scale=1, dark=False):
        """A page with cookies and storage of its own."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session, context)
        self.pages[session] = page
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            page.call(f"{domain}.enable")
        page.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.call("Emulation.setEmulatedMedia", features=[scheme])
        page.open(url)
        return page


class Page:
    KEYS = {"Enter": (13, "\r"), "Escape": (27, ""), "Tab": (9, "")}

    def __init__(self, browser, session, context):
        self.browser = browser
        self.session = session
        self.context = context
        self.errors = []
        self.requests = []

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def close(self):
        self.browser.call("Target.disposeBrowserContext", browserContextId=self.context)

    def note(self, method, parameters):
        if method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.errors.append(" ".join(str(a.get("value", a.get("description"))) for a in parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.errors.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
        elif method == "Audits.issueAdded":
            self.errors.append(json.dumps(parameters["issue"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"] + parameters["request"].get("urlFragment", ""))

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise Failed(f"{expression}: {result['exceptionDetails']['exception'].get('description')}")
        return result["result"].get("value")

    def wait(self, expression, within=30):
        """Waits until an expression is true, and returns it."""
        deadline = time.monotonic() + within
        while True:
            try:
                if value := self.evaluate(expression):
                    return value
            except Failed:
                if time.monotonic() > deadline:
                    raise
            if time.monotonic() > deadline:
                shown = self.evaluate("document.body.innerText")
                raise Failed(f"never true: {expression}\nerrors: {self.errors}\nthe page:\n{shown}")
            time.sleep(0.05)

    def text(self, selector):
        return self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? null")

    def wait_text(self, selector, text, within=30):
        self.wait(f"(document.querySelector({json.dumps(selector)})?.innerText ?? '').includes({json.dumps(text)})", within)

    def click(self, selector):
        """Clicks with the mouse, so only what can be seen and isn't covered."""
        place = self.wait(
            "(() => { const element = document.querySelector(%s);"
            " if (!element || element.disabled) return null;"
            " element.scrollIntoView({block: 'center', behavior: 'instant'});"
            " const box = element.getBoundingClientRect();"
            " const x = box.x + box.width / 2, y = box.y + box.height / 2;"
            " const top = document.elementFromPoint(x, y);"
            " return top && (element.contains(top) || top.contains(element)) ? {x, y} : null; })()" % json.dumps(selector)
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def fill(self, selector, text):
        self.click(selector)
        self.evaluate(f"document.querySelector({json.dumps(selector)}).select?.()")
        self.call("Input.insertText", text=text)

    def press(self, key):
        code, text = self.KEYS.get(key) or (ord(key.upper()), key)
        event = {"key": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **event)
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def violations(self, axe):
        """What axe-core, whose script is a file, finds wrong with the page as it is now: a line for each kind."""
        with open(axe) as file:
            self.evaluate(file.read() + "; true")
        return self.evaluate(
            "axe.run().then(({violations}) => violations.map(({id, help, nodes}) =>"
            " `${id}: ${help}: ${nodes.map(({html}) => html.slice(0, 200)).slice(0, 3).join(' ')}`))"
        )

    def screenshot(self, path):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))
