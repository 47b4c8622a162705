# Tools that do to the process they are in what tools should not do.
import asyncio
import atexit
import os
import signal
import subprocess
import sys
import threading

print("noise when it is loaded")
os.write(1, b'{"jsonrpc":"2.0","id":1,"result":{}}\n')


def good(n: int) -> str:
    return f"good {n}"


def prints() -> str:
    print("x" * 100_000)
    sys.stdout.flush()
    os.write(1, b'\n{"jsonrpc":"2.0","id":2,"result":{"content":[]}}\n')
    return "printed"


def exits():
    os._exit(0)


def leaves():
    sys.exit(3)


async def leaves_the_loop():
    sys.exit(3)


def closes():
    for fd in range(0, 1024):
        try:
            os.close(fd)
        except OSError:
            pass
    return "closed"


def writes():
    for fd in range(0, 1024):
        try:
            os.write(fd, b'{"id": 1}\n{"done": 1, "failed": false, "content": 3}\n\xff\xfe')
        except OSError:
            pass
    return "wrote"


def huge():
    return "ü" * (20 << 20)


def endless():
    while True:
        yield "x" * 1000


def loops():
    while True:
        pass


async def loops_on_the_loop():
    while True:
        pass


async def sleeps():
    await asyncio.sleep(3600)


def deep():
    value = []
    for _ in range(100_000):
        value = [value]
    return value


def odd():
    return {float("nan"): object(), "\ud800": "\udfff\0", 1: {1, 2}, "b": b"\xff"}


class Bad(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def raises():
    raise Bad()


def recurses():
    return recurses()


def kills():
    os.kill(os.getpid(), signal.SIGKILL)


def stops():
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    os.kill(os.getpid(), signal.SIGSTOP)


def forks():
    if os.fork() == 0:
        os.write(1, b"the child\n")
        threading.Event().wait(60)
    return "forked"


def starts():
    subprocess.Popen(["sleep", "60"], close_fds=False)
    return "started"


def replaces():
    sys.stdout = sys.stderr = None
    json = sys.modules["json"]
    json.dumps = None
    return "replaced"
