"""LiteLLM's proxy before a provider: `litellm_proxy.py UPSTREAM DIRECTORY`. It says where it listens, and ends with its input.

It takes every dialect from its clients. The name of a model is the dialect in which it asks the provider.
"""

import json
import os
import pathlib
import socket
import sys
import threading

upstream, place = sys.argv[1], pathlib.Path(sys.argv[2])
# It greets on standard output.
answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
WAYS = {
    "chat": {"model": "custom_openai/scripted-model", "api_base": f"{upstream}/v1"},
    "responses": {"model": "openai/responses/scripted-model", "api_base": f"{upstream}/v1"},
    "messages": {"model": "anthropic/scripted-model", "api_base": upstream},
    "generate": {"model": "gemini/scripted-model", "api_base": f"{upstream}/v1beta"},
}
config = place / "litellm.yaml"
config.write_text(json.dumps({
    "model_list": [{"model_name": name, "litellm_params": {**way, "api_key": "upstream-key"}}
                   for name, way in WAYS.items()],
    "general_settings": {"master_key": "sk-planted-key"},
    # Who asks is to hear of a failure at once.
    "litellm_settings": {"telemetry": False, "num_retries": 0, "request_timeout": 60},
    "router_settings": {"num_retries": 0, "disable_cooldowns": True},
}))
os.environ.update({
    "CONFIG_FILE_PATH": str(config),
    # What it would fetch: prices, and whether there is a newer one of it.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "NO_DOCS": "True",
    "HOME": str(place), "LITELLM_LOG": "ERROR",
})

import uvicorn  # noqa: E402
from litellm.proxy.proxy_server import app  # noqa: E402


class Server(uvicorn.Server):
    """Tells where it is as soon as it answers."""

    async def startup(self, sockets=None):
        await super().startup(sockets=sockets)
        if self.started:
            print(f"http://127.0.0.1:{sockets[0].getsockname()[1]}", file=answer, flush=True)
            threading.Thread(target=self.until_nobody_listens, daemon=True).start()

    def until_nobody_listens(self):
        sys.stdin.read()
        os._exit(0)


listener = socket.create_server(("127.0.0.1", 0))
Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
