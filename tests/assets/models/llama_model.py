"""Writes a model that llama.cpp can serve, and whose weights are made here: `model.py FILE`.

What comes next depends on the last token alone: behind a person's words it calls the tool `flip`, behind a result
it says so. There is nothing to learn from it but how the server speaks."""

import sys

import gguf
import numpy

WIDTH, HEADS, INNER, WINDOW = 272, 1, 32, 8192

# Every byte is a token, so that any text can be read and written.
CALL = '<tool_call>\n{"name":\u2581"flip",\u2581"arguments":\u2581{"on":\u2581true}}\n</tool_call>'
SPECIAL = ["<unk>", "<s>", "</s>"]
TOKENS = SPECIAL + [f"<0x{byte:02X}>" for byte in range(256)] + ["\u2581", CALL, "Flipped", "\u2581it."]
KINDS = ([gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
         + [gguf.TokenType.BYTE] * 256 + [gguf.TokenType.NORMAL] * 4)
# One that knows tools, as those of real models do: by it the server holds a model to calls that are some.
TEMPLATE = """\
{%- if tools %}
{{- '<|im_start|>system\\n# Tools\\n<tools>' }}
{%- for tool in tools %}
{{- "\\n" }}{{ tool | tojson }}
{%- endfor %}
{{- '\\n</tools>\\nFor each call: <tool_call>\\n{"name": <name>, "arguments": <arguments>}\\n</tool_call><|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{%- if message.role == "tool" %}
{{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
{%- else %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.content %}{{- message.content }}{%- endif %}
{%- for call in message.tool_calls or [] %}
{{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
{{- call.function.arguments | tojson }}
{{- '}\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- if messages[-1].role == "tool" %}{{- '.' }}{%- endif %}
{%- endif %}
"""

writer = gguf.GGUFWriter(sys.argv[1], "llama")
writer.add_name("random")
writer.add_context_length(WINDOW)
writer.add_embedding_length(WIDTH)
writer.add_block_count(1)
writer.add_feed_forward_length(INNER)
writer.add_head_count(HEADS)
writer.add_head_count_kv(HEADS)
writer.add_rope_dimension_count(WIDTH // HEADS)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_vocab_size(len(TOKENS))
writer.add_tokenizer_model("llama")
writer.add_token_list(TOKENS)
writer.add_token_scores([0.0] * len(TOKENS))
writer.add_token_types(KINDS)
writer.add_bos_token_id(1)
writer.add_eos_token_id(2)
writer.add_unk_token_id(0)
writer.add_chat_template(TEMPLATE)

token = TOKENS.index
NEXT = {token("<0x0A>"): token(CALL), token(CALL): token("</s>"), token("<0x2E>"): token("Flipped"),
        token("Flipped"): token("\u2581it."), token("\u2581it."): token("</s>")}

numbers = numpy.random.default_rng(7)
# Each token is a direction of its own, and each direction leads to one token.
leads = numbers.standard_normal((len(TOKENS), WIDTH)).astype(numpy.float32) * 0.01
for last, following in NEXT.items():
    leads[following, last] = 2.0
ones, nothing = numpy.ones(WIDTH, dtype=numpy.float32), numpy.zeros((WIDTH, WIDTH), dtype=numpy.float32)
writer.add_tensor("token_embd.weight", numpy.eye(len(TOKENS), WIDTH, dtype=numpy.float32))
writer.add_tensor("output.weight", leads)
writer.add_tensor("output_norm.weight", ones)
for name in ("attn_norm", "ffn_norm"):
    writer.add_tensor(f"blk.0.{name}.weight", ones)
for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
    writer.add_tensor(f"blk.0.{name}.weight", nothing)
writer.add_tensor("blk.0.ffn_gate.weight", numpy.zeros((INNER, WIDTH), dtype=numpy.float32))
writer.add_tensor("blk.0.ffn_up.weight", numpy.zeros((INNER, WIDTH), dtype=numpy.float32))
writer.add_tensor("blk.0.ffn_down.weight", numpy.zeros((WIDTH, INNER), dtype=numpy.float32))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
