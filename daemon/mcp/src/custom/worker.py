# Custom tools, part 4: the process in which the user's code runs. It has no way to whoever
# calls: it speaks to the parent alone, and what it says there is looked at again.
import asyncio
import signal
import threading

MOST_LINE = 32 << 20


class Worker:
    def __init__(self, entries, agent, skipped, requests, answers, mark):
        self.entries, self.agent, self.skipped = entries, agent, skipped
        self.requests, self.answers, self.mark = requests, answers, mark
        self.lock = threading.Lock()
        self.tools, self.waiting = {}, {}
        self.loop = asyncio.new_event_loop()

    def say(self, **what):
        try:
            text = json.dumps(what, allow_nan=False, default=str, ensure_ascii=False)
            line = self.mark + text.encode("utf-8", "replace") + b"\n"
        except (TypeError, ValueError, RecursionError) as error:
            line = self.mark + json.dumps({"done": what.get("done"), "failed": True, "content": [
                {"type": "text", "text": f"the result cannot be passed on: {error}"}]}).encode() + b"\n"
        line = memoryview(line)
        with self.lock:
            while line:
                line = line[os.write(self.answers, line):]

    def load(self):
        loaded, failed = {}, []
        if not find(MASSGEN):
            sys.meta_path.append(Stand())
        for number, entry in enumerate(self.entries):
            label = entry.get("name") or entry.get("function") or entry.get("path") or str(number)
            if number in self.skipped:
                failed.append([label, self.skipped[number]])
                continue
            self.say(loading=number)
            try:
                name, tool = load_tool(entry, self.agent, loaded)
                if name in self.tools:
                    raise Unusable(f"another one is called {name} already")
                self.tools[name] = tool
            except BaseException as error:
                failed.append([label, failure(error)[:LONGEST_NOTE]])
        self.say(ready=[tool.shown for tool in self.tools.values()], failed=failed)

    def run(self):
        asyncio.set_event_loop(self.loop)
        self.load()
        threading.Thread(target=self.listen, daemon=True).start()
        while True:
            try:
                self.loop.run_forever()
            except (KeyboardInterrupt, SystemExit):
                continue
            os._exit(0)

    def listen(self):
        try:
            with open(self.requests, "rb", closefd=False) as lines:
                for line in lines:
                    request = json.loads(line)
                    if "call" in request:
                        threading.Thread(target=self.call, args=(request,), daemon=True).start()
                    elif "cancel" in request:
                        future = self.waiting.get(request["cancel"])
                        if future:
                            future.cancel()
        finally:
            # The server has gone, or the tools have closed what it speaks on.
            os._exit(70)

    def call(self, request):
        number, blocks = request["call"], Blocks()
        try:
            tool = self.tools[request["tool"]]
            arguments = tool.arguments(request["arguments"])
            self.take(tool.function(**arguments), number, blocks)
        except BaseException as error:
            blocks.failed = True
            blocks.room = max(blocks.room, LONGEST_DESCRIPTION)
            blocks.text(failure(error))
        try:
            self.say(done=number, failed=blocks.failed, content=blocks.done())
        except OSError:
            os._exit(70)

    def take(self, value, number, blocks):
        if inspect.isasyncgen(value):
            value = self.wait(drained(value, blocks), number)
        elif inspect.isawaitable(value):
            value = self.wait(awaited(value), number)
        if inspect.isgenerator(value):
            for count, piece in enumerate(value):
                if count >= MOST_PIECES or blocks.room <= 0:
                    blocks.more = True
                    value.close()
                    break
                blocks.add(piece)
        else:
            blocks.add(value)

    def wait(self, coroutine, number):
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        self.waiting[number] = future
        try:
            return future.result()
        finally:
            self.waiting.pop(number, None)


async def awaited(value):
    try:
        return await value
    except (SystemExit, KeyboardInterrupt) as error:
        # Of a task, they would end the loop.
        raise RuntimeError(f"the tool wanted to end the program: {error!r}") from error


async def drained(pieces, blocks):
    count = 0
    try:
        async for piece in pieces:
            count += 1
            if count > MOST_PIECES or blocks.room <= 0:
                blocks.more = True
                await pieces.aclose()
                break
            blocks.add(piece)
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"the tool wanted to end the program: {error!r}") from error
