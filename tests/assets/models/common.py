"""What the programs of the official clients have in common: the arguments, and what they say."""

import json
import sys

KEY = "planted-key"
MODEL = "scripted-model"
TOOLS = ("look", "note")
PARAMETERS = {"type": "object", "properties": {"path": {"type": "string"}}}


def turn(said="", thoughts="", calls=(), stop="", usage=()):
    """One answer, as every program tells it."""
    return {"said": said, "thoughts": thoughts, "calls": list(calls), "stop": stop, "usage": list(usage)}


def main(converse, fail, validate):
    """`PROGRAM converse|retry|fail|validate BASE_URL_OR_FILE WAY`: JSON on standard output."""
    mode, place, way = sys.argv[1:4]
    if mode == "converse":
        told = converse(place, way, 0)
    elif mode == "retry":
        told = converse(place, way, 3)
    elif mode == "fail":
        told = fail(place, way)
    else:
        with open(place, encoding="utf-8") as file:
            told = [validate(json.loads(line), way) for line in file]
    json.dump(told, sys.stdout)


def failure(error):
    """A client's exception, by what its users go by."""
    names = [kind.__name__ for kind in type(error).__mro__ if kind not in (object, BaseException, Exception)]
    status = getattr(error, "status_code", getattr(error, "code", None))
    return {"error": names, "status": status if isinstance(status, int) else None, "text": str(error)}


def lost(given, kept, path=""):
    """What of a value its type did not know, by place."""
    if isinstance(given, dict):
        if not isinstance(kept, dict):
            return [path]
        return [place for key, value in given.items()
                for place in (lost(value, kept[key], f"{path}.{key}") if key in kept else [f"{path}.{key}"])]
    if isinstance(given, list):
        if not isinstance(kept, list) or len(kept) != len(given):
            return [path]
        return [place for at, value in enumerate(given) for place in lost(value, kept[at], f"{path}[{at}]")]
    return [] if given == kept else [path]
