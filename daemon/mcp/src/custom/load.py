# Custom tools, part 3: the user's functions, found and bound.
import importlib
import importlib.abc
import importlib.util
import os
import types

MASSGEN = "massgen"
# Where MassGen looks for a function of its own when no path is given.
BUILT_IN = ("massgen.tool._basic", "massgen.tool._code_executors", "massgen.tool._file_handlers",
            "massgen.tool._multimedia_processors", "massgen.tool.workflow_toolkits", "massgen.tool")


class Unusable(Exception):
    """Why a function is no tool."""


class Stand(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """The few names of MassGen that tools are written with, where the package is not installed."""

    NAMES = ("massgen", "massgen.tool", "massgen.tool._result", "massgen.tool._decorators",
             "massgen.logger_config")

    def find_spec(self, name, path=None, target=None):
        return importlib.util.spec_from_loader(name, self, is_package=True) if name in self.NAMES else None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        if module.__name__ == "massgen.logger_config":
            import logging
            module.logger = logging.getLogger("massgen")
        elif module.__name__ != "massgen":
            for thing in (ExecutionResult, ContentBlock, TextContent, ImageContent, AudioContent, context_params):
                setattr(module, thing.__name__, thing)


@dataclasses.dataclass
class ContentBlock:
    block_type: str
    data: str


class TextContent(ContentBlock):
    def __init__(self, data):
        super().__init__("text", data)


class ImageContent(ContentBlock):
    def __init__(self, data):
        super().__init__("image", data)


class AudioContent(ContentBlock):
    def __init__(self, data):
        super().__init__("audio", data)


@dataclasses.dataclass
class ExecutionResult:
    output_blocks: list
    meta_info: typing.Optional[dict] = None
    is_streaming: bool = False
    is_final: bool = True
    is_log: bool = False
    was_interrupted: bool = False
    result_id: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)


def context_params(*names):
    def mark(function):
        function.__context_params__ = set(names)
        return function
    return mark


class Tool:
    """One function, bound to what the agent file gives it."""

    def __init__(self, name, function, given, agent, description):
        self.function = function
        context = set(getattr(function, "__context_params__", ()))
        known = {name: (kind, parameter) for name, kind, parameter in parameters_of(function)}
        own = {"agent_cwd": agent.get("cwd"), "agent_id": agent.get("id")}
        self.bound = {}
        for parameter in context & set(known):
            if known[parameter][1].default is inspect.Parameter.empty or parameter in own:
                self.bound[parameter] = own.get(parameter)
        if "agent_cwd" in known:
            self.bound["agent_cwd"] = own["agent_cwd"]
        variadic = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())
        for key, value in given.items():
            if key in known:
                value = convert(value, known[key][0], f"preset_args.{key}")
            elif not variadic:
                raise Unusable(f"preset_args.{key}: the function has no such parameter")
            self.bound[key] = value
        self.takes = {name: kind for name, (kind, _) in known.items() if name not in context | set(self.bound)}
        self.needs = [name for name in self.takes if known[name][1].default is inspect.Parameter.empty]
        self.variadic = variadic
        hidden = context | set(self.bound)
        text, schema = describe(function, hidden, description)
        if variadic:
            schema["additionalProperties"] = True
        self.shown = {"name": name, "description": text, "inputSchema": schema}
        json.dumps(self.shown)

    def arguments(self, given):
        """The arguments of one call, in the function's types."""
        arguments = dict(self.bound)
        missing = [name for name in self.needs if name not in given]
        if missing:
            raise TypeError(f"without {', '.join(missing)}: it is required")
        for name, value in given.items():
            if name in self.bound or (name not in self.takes and not self.variadic):
                takes = ", ".join(self.takes) or "none"
                raise TypeError(f"there is no parameter {name!r}; there are: {takes}")
            arguments[name] = convert(value, self.takes.get(name, typing.Any), name)
        return arguments


def module_of(entry, loaded):
    """The module that a function is in: a file, a module of the interpreter, or MassGen's own."""
    path, module = entry.get("path"), entry.get("module")
    if path:
        if path not in loaded:
            name = os.path.basename(path)[:-3]
            # It must not be taken for a module that others import.
            known = name if name.isidentifier() and name not in sys.modules and not find(name) else f"custom_{len(loaded)}"
            spec = importlib.util.spec_from_file_location(known, path)
            if spec is None or spec.loader is None:
                raise Unusable("it is no Python file")
            found = importlib.util.module_from_spec(spec)
            sys.modules[known] = found
            folder = os.path.dirname(path)
            if folder not in sys.path:
                # Last: what is beside the file stands in for nothing else.
                sys.path.append(folder)
            spec.loader.exec_module(found)
            loaded[path] = found
        return loaded[path]
    if module:
        # MassGen's users leave the beginning of its own modules out.
        return importlib.import_module(module if find(module) or not find("massgen.tool." + module)
                                       else "massgen.tool." + module)
    for name in BUILT_IN:
        try:
            found = importlib.import_module(name)
        except ImportError:
            continue
        if callable(getattr(found, entry["function"], None)):
            return found
    raise Unusable("it has no `path`, and is no function of the massgen package of this interpreter")


def find(name):
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None


def function_of(entry, loaded):
    module, name = module_of(entry, loaded), entry.get("function")
    if name:
        function = getattr(module, name, None)
        if function is None:
            raise Unusable(f"there is no function {name!r} in it")
    else:
        own = [thing for key, thing in vars(module).items() if not key.startswith("_") and callable(thing)
               and getattr(thing, "__module__", None) == module.__name__]
        function = getattr(module, "main", None) or next(iter(own), None)
        if function is None:
            raise Unusable("there is no function in it")
    if not callable(function):
        raise Unusable(f"{name!r} is no function")
    return function


def load_tool(entry, agent, loaded):
    function = function_of(entry, loaded)
    name = entry.get("name") or getattr(function, "__name__", entry.get("function") or "tool")
    name = name if name.startswith(PREFIX) else PREFIX + name
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise Unusable(f"{name!r} is no name that a model can call: letters, digits, `_` and `-`, at most 64")
    return name, Tool(name, function, entry.get("preset_args") or {}, agent, entry.get("description"))
