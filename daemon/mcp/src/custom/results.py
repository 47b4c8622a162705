# Custom tools, part 2: values from JSON for a function, and what it returns as text.
import base64
import traceback

LARGEST_TEXT = 4 << 20
LARGEST_PICTURE = 8 << 20
MOST_PIECES = 1000
FRAMES = 6
PICTURES = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"),
            (b"RIFF", "image/webp"))


def convert(value, kind, where, depth=0):
    """A value as JSON has it in the type that a function asks for. What has no better form is
    passed as it is: the function knows best."""
    kind, _ = annotated(kind)
    if depth > DEEPEST or kind in (typing.Any, inspect.Parameter.empty, object) or isinstance(kind, str):
        return value
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    fail = TypeError(f"{where}: {short_repr(value)} is no {getattr(kind, '__name__', kind)}")
    if is_union(kind):
        if value is None and type(None) in inner:
            return None
        for one in sorted(inner, key=lambda one: 0 if type(value) is one else 1):
            try:
                return convert(value, one, where, depth + 1)
            except (TypeError, ValueError):
                continue
        raise fail
    if origin is typing.Literal:
        if value in inner:
            return value
        raise TypeError(f"{where}: {short_repr(value)} is none of {', '.join(map(repr, inner))}")
    base = origin or kind
    if base in LISTS:
        if not isinstance(value, list):
            raise fail
        of = (lambda n: inner[min(n, len(inner) - 1)]) if inner and base is tuple and inner[-1] is not Ellipsis \
            else (lambda n: inner[0] if inner else typing.Any)
        items = [convert(item, of(n), f"{where}[{n}]", depth + 1) for n, item in enumerate(value)]
        return base(items) if base in (tuple, set, frozenset) else items
    if base in MAPS:
        if not isinstance(value, dict):
            raise fail
        of = inner[1] if len(inner) == 2 else typing.Any
        return {key: convert(item, of, f"{where}.{key}", depth + 1) for key, item in value.items()}
    if not isinstance(kind, type):
        return value
    if kind is bool or kind is str:
        if not isinstance(value, kind):
            raise fail
    elif kind is int:
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise fail
    elif kind is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise fail
        return float(value)
    elif kind is bytes:
        return value.encode() if isinstance(value, str) else value
    elif issubclass(kind, enum.Enum):
        for member in kind:
            if member.value == value or member.name == value:
                return member
        raise TypeError(f"{where}: {short_repr(value)} is none of {', '.join(repr(m.value) for m in kind)}")
    elif issubclass(kind, pathlib.PurePath) or kind is uuid.UUID:
        return kind(value)
    elif kind in (datetime.datetime, datetime.date, datetime.time):
        return kind.fromisoformat(value.replace("Z", "+00:00")) if isinstance(value, str) else value
    elif callable(getattr(kind, "model_validate", None)):
        return kind.model_validate(value)
    elif dataclasses.is_dataclass(kind) and isinstance(value, dict):
        known = hints(kind)
        return kind(**{key: convert(item, known.get(key, typing.Any), f"{where}.{key}", depth + 1)
                       for key, item in value.items()})
    return value


def short_repr(value):
    text = repr(value)
    return text if len(text) < 80 else text[:80] + "…"


class Blocks:
    """What a tool answers, as far as it is taken."""

    def __init__(self):
        self.content, self.room, self.cut, self.pictures = [], LARGEST_TEXT, 0, 0
        self.failed = self.more = False

    def text(self, text):
        text = text.encode("utf-8", "replace").decode("utf-8") if not text.isascii() else text
        kept = text[:max(self.room, 0)]
        self.cut += len(text) - len(kept)
        self.room -= len(kept)
        if kept or not text:
            self.content.append({"type": "text", "text": kept})

    def picture(self, data):
        """Whether it is one."""
        data = data.partition(",")[2] if data.startswith("data:image/") else data
        if self.pictures + len(data) > LARGEST_PICTURE:
            return False
        try:
            head = base64.b64decode(data[:64], validate=True)
            base64.b64decode(data, validate=True)
        except ValueError:
            return False
        kind = next((kind for magic, kind in PICTURES if head.startswith(magic)), None)
        if kind:
            self.pictures += len(data)
            self.content.append({"type": "image", "data": data, "mimeType": kind})
        return kind is not None

    def add(self, value):
        if value is None:
            return
        blocks = getattr(value, "output_blocks", None)
        if isinstance(blocks, (list, tuple)):
            # MassGen's ExecutionResult, or something like it.
            if getattr(value, "is_log", False) is True:
                return
            for block in blocks:
                data, kind = getattr(block, "data", block), getattr(block, "block_type", "text")
                if kind == "image" and isinstance(data, str) and self.picture(data):
                    continue
                if kind in ("image", "audio") and isinstance(data, str):
                    self.text(f"[{kind}: {len(data)} characters]" if len(data) > LONGEST_NOTE else data)
                else:
                    self.text(as_text(data))
            if getattr(value, "was_interrupted", False) is True:
                self.text("[the tool was interrupted]")
            return
        self.text(as_text(value))

    def done(self):
        if self.cut:
            self.content.append({"type": "text", "text": f"[{self.cut} more characters are left out]"})
        if self.more:
            self.content.append({"type": "text", "text": "[what came after that is left out]"})
        return self.content or [{"type": "text", "text": "(no result)"}]


def as_text(value):
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "replace")
    if callable(getattr(value, "model_dump_json", None)):
        return str(value.model_dump_json())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, (set, frozenset)):
        value = list(value)
    if isinstance(value, (dict, list, tuple, int, float, bool)):
        try:
            return json.dumps(value, ensure_ascii=False, default=plain)
        except (TypeError, ValueError, RecursionError):
            pass
    return str(value)


def plain(value):
    """Within a list or map, what JSON lacks."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if callable(getattr(value, "model_dump", None)):
        return value.model_dump()
    if isinstance(value, enum.Enum):
        return value.value
    return list(value) if isinstance(value, (set, frozenset)) else str(value)


def failure(error):
    """What a model is told of an exception: its words, and the last frames of the user's."""
    words = safe(lambda: "".join(traceback.format_exception_only(type(error), error)).strip())
    lines = [str(error) if isinstance(error, Unusable) else words]
    frames = safe(lambda: [f for f in traceback.extract_tb(error.__traceback__) if not is_own(f.filename)], [])
    for frame in frames[-FRAMES:]:
        lines.append(f"  at {frame.name} ({frame.filename}:{frame.lineno}): {(frame.line or '')[:200]}")
    return "\n".join(lines)[:LONGEST_DESCRIPTION]


def safe(function, other="an exception that cannot be shown"):
    try:
        return function()
    except Exception:
        return other


def is_own(name):
    return name == "<string>" or name.startswith("<frozen importlib") or name.endswith("/.cordon-custom-tools.py")
