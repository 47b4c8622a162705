# Custom tools, part 5: the server. It speaks MCP on standard input and output, and never loads
# anything of the user's: a worker does, which it starts again when one has ended.
import ctypes
import fcntl
import secrets
import selectors
import time

VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
HIGH = 200
MOST_CALLS = 64
GRACE = 2.0
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4


def prctl(option, value):
    try:
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
    except (OSError, AttributeError):
        pass


def aside(fd):
    """The same, out of the way, and closed in every program that is started."""
    for least in (HIGH, 10, 3):
        try:
            return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, least)
        except OSError:
            continue
    raise OSError("there is no room for a descriptor")


def moved(fd):
    other = aside(fd)
    os.close(fd)
    return other


class Call:
    def __init__(self, request, tool, deadline):
        self.request, self.tool, self.deadline, self.kill_at, self.told = request, tool, deadline, None, False


class Lines:
    """Pieces, cut anywhere, as lines."""

    def __init__(self):
        self.pieces, self.size = [], 0

    def add(self, piece):
        *lines, rest = piece.split(b"\n")
        if lines:
            lines[0] = b"".join(self.pieces + [lines[0]])
            self.pieces, self.size = [], 0
        if rest:
            self.pieces.append(rest)
            self.size += len(rest)
        return lines


class Server:
    def __init__(self, config):
        self.entries, self.agent = config["tools"], config["agent"]
        self.call_within, self.load_within = config["call_seconds"], config["load_seconds"]
        # What follows has these names for itself: the tools' prints go to standard error.
        self.input, self.output = aside(0), aside(1)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(2, 1)
        os.close(null)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.input, selectors.EVENT_READ)
        self.pid, self.calls, self.number = None, {}, 0
        self.tools, self.failed, self.skipped = None, [], {}
        self.loading, self.load_until, self.waiting = None, None, []
        self.inbox = Lines()

    # The worker.

    def start(self):
        self.mark = secrets.token_hex(16).encode() + b" "
        requests, self.requests = os.pipe()
        self.answers, answers = os.pipe()
        requests, self.requests, self.answers, answers = map(moved, (requests, self.requests, self.answers, answers))
        parent = os.getpid()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                prctl(PR_SET_DUMPABLE, 1)
                prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != parent:
                    os._exit(0)
                os.setpgid(0, 0)
                self.selector.close()
                for fd in (self.input, self.output, self.requests, self.answers):
                    os.close(fd)
                Worker(self.entries, self.agent, dict(self.skipped), requests, answers, self.mark).run()
            except BaseException as error:
                os.write(2, failure(error).encode("utf-8", "replace") + b"\n")
            finally:
                os._exit(71)
        os.close(requests)
        os.close(answers)
        os.set_blocking(self.requests, False)
        self.heard, self.outbox, self.loading, self.ready = Lines(), bytearray(), None, False
        self.load_until = time.monotonic() + self.load_within
        self.selector.register(self.answers, selectors.EVENT_READ)

    def end(self, why=None):
        """Ends the worker and tells whoever waits for it."""
        if self.pid is None:
            return
        for kill, target in ((os.killpg, self.pid), (os.kill, self.pid)):
            try:
                kill(target, signal.SIGKILL)
            except OSError:
                pass
        status = os.waitpid(self.pid, 0)[1]
        for fd in (self.answers, self.requests):
            if fd in self.selector.get_map():
                self.selector.unregister(fd)
        os.close(self.answers)
        os.close(self.requests)
        self.pid = None
        if why is None:
            why = f"signal {status & 127}" if status & 127 else f"exit code {status >> 8}"
            why = f"the process of the tools ended ({why})"
        calls, self.calls = self.calls, {}
        for call in calls.values():
            self.answer_call(call, [{"type": "text", "text": why}], True)
        if not self.ready:
            self.load_until = None
            number = self.loading
            if number is None or number in self.skipped:
                self.tools, self.failed = self.tools or {}, self.failed + [["custom_tools", why]]
                self.ready = True
                self.release()
                return
            self.skipped[number] = f"{why} when its file was loaded"
            self.start()

    def ask(self, what):
        self.outbox += json.dumps(what).encode() + b"\n"
        self.flush()

    def flush(self):
        """Without waiting: tools that keep the worker from reading must not stop the server."""
        try:
            while self.outbox:
                del self.outbox[:os.write(self.requests, self.outbox[:1 << 16])]
        except BlockingIOError:
            pass
        except OSError:
            return self.end()
        if bool(self.outbox) != (self.requests in self.selector.get_map()):
            if self.outbox:
                self.selector.register(self.requests, selectors.EVENT_WRITE)
            else:
                self.selector.unregister(self.requests)

    def hear(self):
        piece = os.read(self.answers, 1 << 20)
        if not piece:
            # It may have closed the pipe and live on; it cannot answer any more.
            for _ in range(20):
                if self.is_gone():
                    return self.end()
                time.sleep(0.01)
            return self.end("the tools closed what they answer on")
        for line in self.heard.add(piece):
            # Anything else was written by the tools to a descriptor that is not theirs.
            at = line.rfind(self.mark)
            if at >= 0 and self.pid is not None:
                self.understand(line[at + len(self.mark):])
        if self.heard.size > MOST_LINE and self.pid is not None:
            self.end("the tools answered more than is taken")

    def is_gone(self):
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except OSError:
            return True

    def understand(self, line):
        try:
            what = json.loads(line)
        except ValueError:
            return
        if "loading" in what:
            self.loading = what["loading"]
        elif "ready" in what:
            self.ready, self.load_until = True, None
            if self.tools is None:
                self.tools = {tool["name"]: tool for tool in what["ready"]}
                self.failed = what["failed"]
            self.release()
        elif "done" in what:
            call = self.calls.pop(what["done"], None)
            if call:
                self.answer_call(call, what["content"], what["failed"])

    def release(self):
        waiting, self.waiting = self.waiting, []
        for request in waiting:
            self.request(request)

    # The client.

    def write(self, message):
        data = json.dumps(dict(message, jsonrpc="2.0"), ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        data = memoryview(data)
        while data:
            data = data[os.write(self.output, data):]

    def reply(self, request, result):
        self.write({"id": request["id"], "result": result})

    def refuse(self, request, code, message):
        self.write({"id": request.get("id"), "error": {"code": code, "message": message}})

    def answer_call(self, call, content, failed):
        if not call.told:
            call.told = True
            self.reply(call.request, {"content": content, "isError": bool(failed)})

    def read(self):
        """Whether there is more to come."""
        piece = os.read(self.input, 1 << 20)
        for line in self.inbox.add(piece):
            if not line.strip():
                continue
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                self.refuse({}, -32700, "this is no JSON")
                continue
            if not isinstance(message, dict):
                self.refuse({}, -32600, "one request on a line")
            elif isinstance(message.get("method"), str):
                self.request(message)
        return bool(piece)

    def request(self, message):
        method, params = message["method"], message.get("params")
        params = params if isinstance(params, dict) else {}
        if "id" not in message:
            if method == "notifications/cancelled":
                self.cancel(params.get("requestId"))
            return
        if method == "ping":
            self.reply(message, {})
        elif method not in ("initialize", "tools/list", "tools/call"):
            self.refuse(message, -32601, "there is no such method")
        elif not self.is_up():
            self.waiting.append(message)
        elif method == "initialize":
            asked = params.get("protocolVersion")
            result = {"protocolVersion": asked if asked in VERSIONS else VERSIONS[-2],
                      "capabilities": {"tools": {}}, "serverInfo": {"name": "cordon-custom-tools", "version": "1"}}
            if self.failed:
                result["instructions"] = json.dumps({"failed": self.failed})
            self.reply(message, result)
        elif method == "tools/list":
            self.reply(message, {"tools": list(self.tools.values())})
        else:
            self.call(message, params)

    def is_up(self):
        if self.pid is None and not (self.tools is not None and not self.tools):
            self.start()
        return self.pid is None or self.ready

    def call(self, message, params):
        name, arguments = params.get("name"), params.get("arguments") or {}
        if name not in self.tools:
            return self.refuse(message, -32602, f"there is no tool {name!r}")
        if not isinstance(arguments, dict):
            return self.refuse(message, -32602, "the arguments are no object")
        if len(self.calls) >= MOST_CALLS:
            return self.reply(message, {"content": [{"type": "text", "text": "too many calls are under way"}],
                                        "isError": True})
        self.number += 1
        self.calls[self.number] = Call(message, name, time.monotonic() + self.call_within)
        self.ask({"call": self.number, "tool": name, "arguments": arguments})

    def cancel(self, request):
        self.waiting = [other for other in self.waiting if other.get("id") != request]
        for number, call in list(self.calls.items()):
            if call.request["id"] == request and not call.told:
                call.told = True
                self.ask({"cancel": number})

    # Time.

    def tick(self):
        now = time.monotonic()
        if self.load_until is not None and now > self.load_until:
            return self.end(f"nothing came within {self.load_within:g} s")
        for number, call in list(self.calls.items()):
            if now > call.deadline and call.kill_at is None:
                text = f"{call.tool} did not return within {self.call_within:g} s and was stopped"
                self.answer_call(call, [{"type": "text", "text": text}], True)
                call.kill_at = now + GRACE
                self.ask({"cancel": number})
            elif call.kill_at is not None and now > call.kill_at and self.pid is not None:
                self.calls.pop(number, None)
                return self.end(f"the process of the tools was ended because {call.tool} did not stop")
        # Nobody waits for what was cancelled, unless it keeps others company.
        if self.calls and all(call.told and call.kill_at is None for call in self.calls.values()):
            for call in self.calls.values():
                call.kill_at = now + GRACE

    def wait(self):
        moments = [call.kill_at or call.deadline for call in self.calls.values()]
        moments += [self.load_until] if self.load_until is not None else []
        # A worker whose own children hold its pipe is not heard to end.
        longest = 1.0 if self.pid is not None and (self.calls or not self.ready) else None
        if not moments:
            return longest
        return max(0.0, min(moments + [time.monotonic() + longest] if longest else moments) - time.monotonic())

    def run(self):
        prctl(PR_SET_DUMPABLE, 0)
        self.start()
        open_ = True
        while open_:
            for key, _ in self.selector.select(self.wait()):
                if key.fd == self.input:
                    open_ = self.read() and open_
                elif self.pid is not None and key.fd == self.answers:
                    self.hear()
                elif self.pid is not None and key.fd == self.requests:
                    self.flush()
            if self.pid is not None and (self.calls or not self.ready) and self.is_gone():
                # What it said before it ended is in the pipe.
                pid = self.pid
                while self.pid == pid and self.is_readable():
                    self.hear()
                if self.pid == pid:
                    self.end()
            self.tick()
        self.calls.clear()
        self.ready = True
        self.end()

    def is_readable(self):
        return any(key.fd == self.answers for key, _ in self.selector.select(0))


def main():
    config = json.loads(os.environ.pop("CORDON_CUSTOM_TOOLS"))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    Server(config).run()


if __name__ == "__main__":
    main()
