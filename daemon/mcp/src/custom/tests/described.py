# Functions whose descriptions the tests look at.
import enum
import os
import pathlib
from dataclasses import dataclass
from typing import Any, Dict, List, Literal, Optional, Tuple, TypedDict, Union

from massgen.tool import ExecutionResult, context_params
from massgen.tool._result import ImageContent, TextContent


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    x: int
    y: float = 2.0


class Options(TypedDict, total=False):
    deep: bool


async def google(text: str, count: int = 3, ratio: float = 0.5, exact: bool = False) -> ExecutionResult:
    """Counts words.

    It does so slowly.

    Args:
        text: What is looked at,
            on two lines.
        count (int): How often.

    Returns:
        The words.
    """
    return ExecutionResult(output_blocks=[TextContent(data=f"{text} {count} {ratio} {exact}")])


def numpy(color: Color, points: List[Point], where: Optional[str] = None):
    """Paints.

    Parameters
    ----------
    color : Color
        One of two.
    points : list
        Where
        to paint.

    Returns
    -------
    str
    """
    return f"{color.name} {[p.x + p.y for p in points]} {where}"


def rest(kind: Literal["a", "b"], path: pathlib.Path, both: Union[int, str], pair: Tuple[int, int] = (1, 2)):
    """Sorts.

    :param kind: The kind.
    :type kind: str
    :param path: A file
        of the workspace.
    :returns: nothing
    """
    return {"kind": kind, "path": path, "both": both, "pair": pair}


def loose(anything, table: Dict[str, int] = None, options: Options = None, *rest, **more) -> Any:
    return [anything, table, options, more]


@context_params("messages", "agent_id")
def bound(query: str, messages: list, agent_id: str = "nobody", agent_cwd: str = "", limit: int = 10, unit: str = "m"):
    """Looks up."""
    return [query, messages, agent_id, agent_cwd, limit, unit]


async def pieces(count: int):
    """Counts."""
    for number in range(count):
        yield f"piece {number}"


def picture():
    """Draws."""
    return ExecutionResult(output_blocks=[ImageContent(data="iVBORw0KGgoAAAANSUhEUg=="), TextContent(data="drawn")])
