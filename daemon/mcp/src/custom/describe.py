# Custom tools, part 1: what a function looks like to a model. This program is made of the
# parts describe, results, load, worker and serve, in this order, and runs inside the sandbox
# with the user's interpreter. It needs Python 3.8 and nothing else.
import sys

# What lies in the working directory, or beside this text, is not to be taken for a module of
# the standard library: an agent can write there.
if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
    del sys.path[0]

import collections.abc
import dataclasses
import datetime
import enum
import inspect
import json
import pathlib
import re
import typing
import uuid

LONGEST_DESCRIPTION = 16 << 10
LONGEST_NOTE = 2 << 10
DEEPEST = 8
PREFIX = "custom_tool__"

PLAIN = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    complex: {"type": "string"},
    bool: {"type": "boolean"},
    bytes: {"type": "string"},
    type(None): {"type": "null"},
    datetime.datetime: {"type": "string", "format": "date-time"},
    datetime.date: {"type": "string", "format": "date"},
    datetime.time: {"type": "string", "format": "time"},
    uuid.UUID: {"type": "string", "format": "uuid"},
}
LISTS = (list, tuple, set, frozenset, collections.abc.Sequence, collections.abc.Iterable,
         collections.abc.MutableSequence, collections.abc.Set, collections.abc.Collection)
MAPS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
UNIONS = [typing.Union] + ([type(int | str)] if sys.version_info >= (3, 10) else [])


def annotated(kind):
    """The type within Annotated, and the texts that go with it."""
    notes = []
    while hasattr(kind, "__metadata__"):
        for note in kind.__metadata__:
            text = note if isinstance(note, str) else getattr(note, "description", None)
            if isinstance(text, str):
                notes.append(text)
        kind = kind.__origin__
    return kind, " ".join(notes)


def is_union(kind):
    return typing.get_origin(kind) in UNIONS or type(kind) in UNIONS[1:]


def is_typed_dict(kind):
    return isinstance(kind, type) and issubclass(kind, dict) and hasattr(kind, "__total__")


def hints(of):
    """The types of a function's or class's names; of those that mean nothing here, none."""
    try:
        if "include_extras" in inspect.signature(typing.get_type_hints).parameters:
            return typing.get_type_hints(of, include_extras=True)
        return typing.get_type_hints(of)
    except Exception:
        given = getattr(of, "__annotations__", {})
        return {name: kind for name, kind in given.items() if not isinstance(kind, str)}


def of_values(values):
    values = [v for v in values if v is None or isinstance(v, (str, int, float, bool))]
    types = {"null" if v is None else PLAIN[type(v)]["type"] for v in values if v is None or type(v) in PLAIN}
    schema = {"enum": values}
    if len(types) == 1:
        schema["type"] = types.pop()
    return schema


def of_fields(fields, defs, depth):
    """An object of (name, type, is required, default)."""
    properties, required = {}, []
    for name, kind, needed, default in fields:
        properties[name] = schema_of(kind, defs, depth + 1)
        if needed:
            required.append(name)
        elif default is not None and is_json(default):
            properties[name]["default"] = default
    schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return schema


def is_json(value):
    try:
        return value is not inspect.Parameter.empty and len(json.dumps(value, allow_nan=False)) < LONGEST_NOTE
    except Exception:
        return False


def schema_of(kind, defs, depth=0):
    """The JSON schema of a type; {} of what is anything."""
    kind, note = annotated(kind)
    schema = of_type(kind, defs, depth) if depth < DEEPEST else {}
    if note:
        schema["description"] = note[:LONGEST_NOTE]
    return schema


def of_type(kind, defs, depth):
    if kind in (typing.Any, inspect.Parameter.empty, object):
        return {}
    if isinstance(kind, typing.TypeVar) or isinstance(kind, str):
        return {}
    if getattr(kind, "__supertype__", None) is not None:
        return schema_of(kind.__supertype__, defs, depth)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return of_values(inner)
    if is_union(kind):
        choices = [schema_of(one, defs, depth + 1) for one in inner]
        if {} in choices:
            return {}
        return choices[0] if len(choices) == 1 else {"anyOf": choices}
    base = origin or kind
    if base in LISTS or base is list:
        return of_list(base, inner, defs, depth)
    if base in MAPS:
        schema = {"type": "object"}
        values = schema_of(inner[1], defs, depth + 1) if len(inner) == 2 else {}
        if values:
            schema["additionalProperties"] = values
        return schema
    if not isinstance(kind, type):
        return {}
    if kind in PLAIN:
        return dict(PLAIN[kind])
    if issubclass(kind, enum.Enum):
        return of_values([member.value for member in kind])
    if issubclass(kind, pathlib.PurePath):
        return {"type": "string"}
    if callable(getattr(kind, "model_json_schema", None)):
        schema = kind.model_json_schema()
        defs.update(schema.pop("$defs", {}))
        return schema
    if dataclasses.is_dataclass(kind):
        known = hints(kind)
        missing = dataclasses.MISSING
        return of_fields(
            [(f.name, known.get(f.name, typing.Any), f.default is missing and f.default_factory is missing,
              inspect.Parameter.empty if f.default is missing else f.default)
             for f in dataclasses.fields(kind) if f.init], defs, depth)
    if is_typed_dict(kind):
        needed = getattr(kind, "__required_keys__", frozenset(kind.__annotations__))
        return of_fields([(name, one, name in needed, inspect.Parameter.empty)
                          for name, one in hints(kind).items()], defs, depth)
    for plain in (bool, int, float, str):
        if issubclass(kind, plain):
            return dict(PLAIN[plain])
    return {}


def of_list(base, inner, defs, depth):
    schema = {"type": "array"}
    if base is tuple and inner and inner[-1] is not Ellipsis:
        items = [schema_of(one, defs, depth + 1) for one in inner]
        schema.update(items=items[0] if all(i == items[0] for i in items) else {},
                      minItems=len(items), maxItems=len(items))
    else:
        # Some models refuse a list that says nothing of its items.
        schema["items"] = schema_of(inner[0], defs, depth + 1) if inner else {}
    if base in (set, frozenset):
        schema["uniqueItems"] = True
    return schema


SECTION = re.compile(
    r"(args|arguments|parameters|params|keyword args|keyword arguments|other parameters|returns?|yields?|raises|"
    r"examples?|notes?|warnings?|see also|references|attributes|todo)\s*:?\s*$", re.IGNORECASE)
OF_PARAMETERS = re.compile(r"(args|arguments|parameters|params|keyword|other parameters)", re.IGNORECASE)
FIELD = re.compile(r":(\w+)(?:\s+([^:]*))?:\s*(.*)$")
GOOGLE = re.compile(r"\*{0,2}(\w+)\s*(?:\(([^)]*)\))?\s*:\s*(.*)$")
NUMPY = re.compile(r"\*{0,2}(\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?$")


def read_docstring(text):
    """What a docstring says of the function, and of each parameter: in Google's, NumPy's or
    reStructuredText's way."""
    lines = inspect.cleandoc(text or "").splitlines()
    about, notes = [], {}
    section, names, indent, at = None, [], 0, 0
    while at < len(lines):
        line, bare = lines[at], lines[at].strip()
        below = lines[at + 1].strip() if at + 1 < len(lines) else ""
        depth = len(line) - len(line.lstrip())
        underlined = len(below) >= 3 and set(below) <= {"-", "="}
        field = FIELD.match(bare)
        at += 1
        if depth == 0 and SECTION.match(bare) and (underlined or bare.endswith(":")):
            section = ("numpy" if underlined else "google") if OF_PARAMETERS.match(bare) else "other"
            names, indent = [], None
            at += 1 if underlined else 0
        elif depth == 0 and field and field.group(1) in (
                "param", "parameter", "arg", "argument", "key", "keyword", "type", "return", "returns", "rtype",
                "raise", "raises", "except", "yield", "yields", "var", "ivar", "meta"):
            section, names, indent = "rest", [], 0
            if field.group(1) in ("param", "parameter", "arg", "argument", "key", "keyword") and field.group(2):
                names = [field.group(2).split()[-1].lstrip("*\\")]
                notes[names[0]] = [field.group(3)]
        elif section is None:
            about.append(line)
        elif section == "google":
            entry = GOOGLE.match(bare)
            if bare and depth == 0:
                section = "other"
            elif entry and (indent is None or depth <= indent):
                names, indent = [entry.group(1)], depth
                notes[names[0]] = [entry.group(3)]
            elif names:
                notes[names[0]].append(bare)
        elif section == "numpy":
            entry = NUMPY.match(bare)
            if entry and depth == 0:
                names = [name.strip().lstrip("*") for name in entry.group(1).split(",")]
                notes.update((name, []) for name in names)
            elif bare:
                for name in names:
                    notes[name].append(bare)
        elif section == "rest":
            for name in names:
                notes[name].append(bare)
    texts = {name: " ".join(part for part in parts if part)[:LONGEST_NOTE] for name, parts in notes.items()}
    return "\n".join(about).strip(), texts


def parameters_of(function):
    """Name, type and parameter of everything that can be given by name."""
    known = hints(inspect.unwrap(function))
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        yield name, known.get(name, parameter.annotation), parameter


def describe(function, hidden, description=None):
    """Description and JSON schema of a function; what is hidden is not a model's to give."""
    about, notes = read_docstring(inspect.getdoc(function))
    properties, required, defs = {}, [], {}
    for name, kind, parameter in parameters_of(function):
        if name in hidden:
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise TypeError(f"the parameter {name!r} cannot be given by name: take the `/` out")
        schema = schema_of(kind, defs)
        if parameter.default is parameter.empty:
            required.append(name)
        else:
            choices = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
            if parameter.default is None and "anyOf" in schema:
                # Whoever wants none leaves it out.
                schema.pop("anyOf")
                schema.update(choices[0] if len(choices) == 1 else {"anyOf": choices})
            elif parameter.default is not None and is_json(parameter.default):
                schema["default"] = parameter.default
            elif isinstance(parameter.default, enum.Enum) and is_json(parameter.default.value):
                schema["default"] = parameter.default.value
        if notes.get(name):
            schema["description"] = notes[name]
        properties[name] = schema
    schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    if defs:
        schema["$defs"] = defs
    text = (description or about or function.__name__).strip()
    if len(text) > LONGEST_DESCRIPTION:
        text = text[:LONGEST_DESCRIPTION] + " […]"
    return text, schema
