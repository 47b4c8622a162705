"""llama.cpp's server with a model: `llama_server.py FILE`. It says where it listens, and ends with its input."""

import sys

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.use_jinja = True
params.warmup = False
params.n_ctx = 8192
params.api_keys = ["planted-key"]
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
