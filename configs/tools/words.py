"""Tools of the example custom-tools.yaml: ordinary functions, with type hints and docstrings."""

import collections
import pathlib
from typing import Literal


def count_words(path: pathlib.Path, most: int = 10, order: Literal["often", "name"] = "often", language: str = "en"):
    """Count the words of a text file.

    Args:
        path: The file; absolute, or relative to the workspace.
        most: How many words to list.
        order: By how often they occur, or by name.
    """
    words = collections.Counter(pathlib.Path(path).read_text(encoding="utf-8").lower().split())
    found = words.most_common(most) if order == "often" else sorted(words.items())[:most]
    return {"language": language, "words": dict(found)}


async def workspace_size(agent_cwd: str) -> str:
    """Say how many files the workspace has, and how large they are."""
    files = [path for path in pathlib.Path(agent_cwd).rglob("*") if path.is_file() and not path.is_symlink()]
    return f"{len(files)} files, {sum(path.stat().st_size for path in files)} bytes"
