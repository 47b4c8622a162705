# Runs agents of AG2 (the package `ag2`, 0.9 to 0.14) inside a sandbox. The task and the agents
# come on standard input as JSON, with the keys of their models; events go out as lines of JSON.
import sys

# What lies beside this text, or in the working directory, is no module of Python's.
if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
    del sys.path[0]

import ctypes
import json
import os
import threading
import traceback
import types
import warnings

LONGEST = 256 << 10
lock = threading.Lock()
# The package and the tools that it starts may print; that goes to standard error.
out = os.dup(1)
os.set_inheritable(out, False)
os.dup2(2, 1)


def clip(text):
    text = text if isinstance(text, str) else "" if text is None else str(text)
    return text if len(text) <= LONGEST else text[:LONGEST] + " […]"


def tell(kind, **what):
    line = memoryview(json.dumps(dict(what, type=kind), default=str, ensure_ascii=True).encode() + b"\n")
    with lock:
        while line:
            line = line[os.write(out, line):]


class Failed(Exception):
    def __init__(self, reason, message):
        super().__init__(message)
        self.reason = reason


def version():
    """Of the package that is installed; empty where there is none."""
    from importlib import metadata
    try:
        return str(metadata.version("ag2"))
    except metadata.PackageNotFoundError:
        return ""


def load():
    warnings.filterwarnings("ignore")
    try:
        import autogen
        from autogen.coding import LocalCommandLineCodeExecutor
    except ImportError as error:
        found = version()
        if found and found.split(".")[0] not in ("", "0"):
            raise Failed("too-new-package", f"{sys.executable} has ag2 {found}, which has no classic agents any more: "
                         "this backend drives ag2 0.9 to 0.14")
        raise Failed("missing-package", f"{sys.executable} has no classic AG2 agents ({error}): "
                     "install `ag2[openai]<1` there, or name another interpreter with cli_path")
    executors = sys.modules[LocalCommandLineCodeExecutor.__module__]
    known = getattr(executors, "_cmd", None)
    if known:
        # `python` is no name that every machine has.
        executors._cmd = lambda language: sys.executable if language.lower().startswith("py") else known(language)
    return autogen, LocalCommandLineCodeExecutor


def text_of(content):
    """What a message says: text, or the texts of its parts."""
    if isinstance(content, list):
        return "\n".join(part.get("text", "") for part in content if isinstance(part, dict))
    return "" if content is None else str(content)


class Team:
    """The agents of one file."""

    def __init__(self, request):
        self.autogen, self.local = load()
        self.request = request
        self.runs = 0

    def llm(self, given):
        entries = given if isinstance(given, list) else [given]
        return self.autogen.LLMConfig(*entries) if hasattr(self.autogen, "LLMConfig") else {"config_list": entries}

    def executor(self, given):
        """One that runs what an agent writes as commands in the workspace, and tells of it."""
        if not given:
            return None
        options = dict(given.get("executor") or {k: v for k, v in given.items() if k in ("timeout", "work_dir")})
        options.pop("type", None)
        options["work_dir"] = os.path.join(self.request["workspace"], options.get("work_dir") or ".")
        os.makedirs(options["work_dir"], exist_ok=True)
        # What an agent writes has the packages that the agent has, whatever `python` is here.
        options["virtual_env_context"] = types.SimpleNamespace(
            env_exe=sys.executable, bin_path=os.path.dirname(sys.executable))
        executor, run = self.local(**options), self.local.execute_code_blocks

        def told(blocks):
            self.runs += 1
            name = f"code-{self.runs}"
            code = "\n".join(f"# {block.language}\n{block.code}" for block in blocks)
            tell("code", id=name, status="started", code=clip(code))
            try:
                result = run(executor, blocks)
            except Exception as error:
                tell("code", id=name, status="failed", code=clip(code), output=clip(str(error)))
                raise
            tell("code", id=name, status="failed" if result.exit_code else "completed", code=clip(code),
                 exit_code=result.exit_code, output=clip(result.output))
            return result

        # The executors of some versions are models whose methods are no attributes to be set.
        object.__setattr__(executor, "execute_code_blocks", told)
        return executor

    def agent(self, given, default_llm=None, default_system="You are a helpful AI assistant.", executes=True):
        kinds = {"assistant": self.autogen.AssistantAgent, "conversable": self.autogen.ConversableAgent}
        options = {
            "name": given["name"],
            "system_message": given.get("system_message") or default_system,
            "human_input_mode": "NEVER",
            "llm_config": self.llm(given.get("llm_config") or default_llm),
        }
        if given.get("description"):
            options["description"] = given["description"]
        executor = self.executor(given.get("code_execution_config")) if executes else None
        options["code_execution_config"] = {"executor": executor} if executor else False
        return kinds[given.get("type") or "conversable"](**options)

    def one(self, given, messages):
        """A single agent: it speaks, its code is run, and it goes on until there is none."""
        agent = self.agent(given, executes=False)
        executor = self.executor(given.get("code_execution_config"))
        for _ in range(self.request["most_replies"]):
            reply = agent.generate_reply(messages=messages)
            text = text_of(reply.get("content") if isinstance(reply, dict) else reply)
            messages.append({"role": "assistant", "content": text})
            if text:
                tell("message", agent=given["name"], text=clip(text))
            blocks = executor.code_extractor.extract_code_blocks(text) if executor else []
            blocks = [block for block in blocks if block.language or block.code.strip()]
            if not blocks:
                return [agent]
            result = executor.execute_code_blocks(blocks)
            words = "execution succeeded" if result.exit_code == 0 else "execution failed"
            messages.append({"role": "user", "content": f"exitcode: {result.exit_code} ({words})\n"
                                                        f"Code output: {clip(result.output)}"})
        raise Failed("too-many-replies", f"no answer after {self.request['most_replies']} replies")

    def group(self, given, messages):
        """A group: the pattern chooses who speaks, until the user agent ends it."""
        from autogen.agentchat import initiate_group_chat
        from autogen.agentchat.group.patterns import AutoPattern

        default = given["llm_config"]
        agents = [self.agent(one, default) for one in given["agents"]]
        user = dict({"name": "User", "system_message": "MUST say 'TERMINATE' when the original request is well "
                     "answered. Do NOT do anything else.", "description": "MUST ONLY be selected when the original "
                     "request is well answered and the conversation should terminate."}, **given.get("user_agent") or {})
        user = self.agent(user, default)
        pattern = dict(given["pattern"])
        pattern.pop("type")
        named = {agent.name: agent for agent in agents}
        first = named.get(pattern.pop("initial_agent"))
        if first is None:
            raise Failed("bad-group", "pattern.initial_agent is none of the agents")
        manager = dict(pattern.pop("group_manager_args", None) or {})
        manager["llm_config"] = self.llm(manager.get("llm_config") or default)
        manager["is_termination_msg"] = lambda said: "TERMINATE" in text_of(said.get("content"))

        def hook(sender, message, recipient, silent):
            text = text_of(message.get("content") if isinstance(message, dict) else message)
            if text and sender is not user:
                tell("message", agent=sender.name, text=clip(text))
            return message

        for agent in agents:
            agent.register_hook("process_message_before_send", hook)
        pattern = AutoPattern(initial_agent=first, agents=agents, user_agent=user, group_manager_args=manager, **pattern)
        result, _, _ = initiate_group_chat(pattern=pattern, messages=messages, max_rounds=given.get("max_rounds") or 20)
        messages[:] = [{"role": "user" if said.get("name") == "User" else "assistant", "content": text_of(said.get("content"))}
                       for said in result.chat_history]
        return agents + [user]

    def run(self):
        given, messages = self.request["agents"], self.remembered()
        messages.append({"role": "user", "content": self.request["prompt"]})
        tell("session", id=self.request["session"])
        agents = self.group(given, messages) if "agents" in given else self.one(given, messages)
        self.usage(agents)
        self.remember(messages)

    def usage(self, agents):
        told = self.autogen.gather_usage_summary(agents)
        told = told.get("usage_including_cached_inference", told) if isinstance(told, dict) else {}
        models = [one for one in told.values() if isinstance(one, dict)]
        tell("usage", input_tokens=sum(int(one.get("prompt_tokens") or 0) for one in models),
             output_tokens=sum(int(one.get("completion_tokens") or 0) for one in models),
             cost_usd=float(told.get("total_cost") or 0.0))

    def place(self):
        return os.path.join(os.path.expanduser("~"), ".cordon-ag2", "sessions", self.request["session"] + ".json")

    def remembered(self):
        """The conversation so far, when this turn goes on with one."""
        try:
            with open(self.place(), encoding="utf-8") as file:
                return [said for said in json.load(file) if isinstance(said, dict)]
        except (OSError, ValueError):
            return []

    def remember(self, messages):
        os.makedirs(os.path.dirname(self.place()), mode=0o700, exist_ok=True)
        with open(self.place(), "w", encoding="utf-8") as file:
            json.dump(messages, file)


def main():
    # Nobody of the same user reads the keys out of its memory: what agents have run is such.
    try:
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
    except (OSError, AttributeError) as error:
        tell("end", status="error", reason="not-shielded", message=f"keys cannot be kept from what agents run: {error}")
        return 1
    request = json.loads(sys.stdin.buffer.read())
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    try:
        Team(request).run()
    except Failed as error:
        tell("end", status="error", reason=error.reason, message=clip(str(error)))
    except BaseException as error:
        traceback.print_exc()
        status = getattr(error, "status_code", None)
        tell("end", status="error", reason=type(error).__name__, message=clip(f"{type(error).__name__}: {error}"),
             http_status=status if isinstance(status, int) else None)
    else:
        tell("end", status="success")
        return 0
    return 1


if __name__ == "__main__":
    code = main()
    # Threads of the package do not keep it.
    os._exit(code)
