"""The official `openai` client: `responses`, `chat`, `details` (OpenRouter) or `azure`."""

import json

import common
import openai
from pydantic import TypeAdapter


def client(base, way, retries):
    if way == "azure":
        return openai.AzureOpenAI(azure_endpoint=base, api_version="2024-12-01-preview", api_key=common.KEY,
                                  max_retries=retries, _strict_response_validation=True)
    prefix = "/api/v1" if way == "details" else "/v1"
    return openai.OpenAI(base_url=base + prefix, api_key=common.KEY, max_retries=retries,
                         _strict_response_validation=True)


def converse(base, way, retries):
    api = client(base, way, retries)
    return responses(api) if way == "responses" else chat(api)


def responses(api):
    tools = [{"type": "function", "name": name, "parameters": common.PARAMETERS, "strict": False}
             for name in common.TOOLS]
    conversation = [{"role": "user", "content": "go"}]
    told = []
    while True:
        deltas, answer = [], None
        with api.responses.stream(model=common.MODEL, input=conversation, tools=tools, store=False,
                                  include=["reasoning.encrypted_content"],
                                  reasoning={"summary": "detailed"}) as stream:
            for event in stream:
                if event.type in ("response.output_text.delta", "response.refusal.delta"):
                    deltas.append(event.delta)
                # What the client itself puts together is only for answers that are complete.
                if event.type in ("response.completed", "response.incomplete"):
                    answer = event.response
        assert answer, "the end is missing"
        calls = [item for item in answer.output if item.type == "function_call"]
        thoughts = "".join(part.text for item in answer.output if item.type == "reasoning" for part in item.summary)
        usage = answer.usage
        why = answer.incomplete_details.reason if answer.incomplete_details else answer.status
        told.append(common.turn(
            answer.output_text or "".join(deltas), thoughts, [[c.name, json.loads(c.arguments)] for c in calls], why,
            [usage.input_tokens, usage.input_tokens_details.cached_tokens, usage.output_tokens,
             usage.output_tokens_details.reasoning_tokens]))
        assert answer.output_text in ("", "".join(deltas)), "the pieces are not the whole"
        if not calls:
            return told
        conversation += [item.to_dict() for item in answer.output]
        conversation += [{"type": "function_call_output", "call_id": c.call_id, "output": "done"} for c in calls]


def chat(api):
    tools = [{"type": "function", "function": {"name": name, "parameters": common.PARAMETERS}}
             for name in common.TOOLS]
    conversation = [{"role": "user", "content": "go"}]
    told = []
    while True:
        said, thoughts, details, calls, stop, usage = [], [], None, {}, "", []
        for chunk in api.chat.completions.create(model=common.MODEL, messages=conversation, tools=tools, stream=True,
                                                 stream_options={"include_usage": True}):
            if chunk.usage:
                usage = [chunk.usage.prompt_tokens, chunk.usage.prompt_tokens_details.cached_tokens,
                         chunk.usage.completion_tokens, chunk.usage.completion_tokens_details.reasoning_tokens]
            for choice in chunk.choices:
                delta, more = choice.delta, choice.delta.model_extra or {}
                said += [delta.content or "", delta.refusal or ""]
                thoughts.append(more.get("reasoning_content") or more.get("reasoning") or "")
                for piece in more.get("reasoning_details") or []:
                    details = details or {"text": ""} if "data" not in piece else dict(piece)
                    text = details.get("text", "") + piece.get("text", "")
                    details.update(piece)
                    if "data" not in piece:
                        details["text"] = text
                for piece in delta.tool_calls or []:
                    call = calls.setdefault(piece.index, {"id": "", "name": "", "arguments": ""})
                    call["id"] = piece.id or call["id"]
                    call["name"] = piece.function.name or call["name"]
                    call["arguments"] += piece.function.arguments or ""
                stop = choice.finish_reason or stop
        made = [calls[index] for index in sorted(calls)]
        told.append(common.turn("".join(said), "".join(thoughts),
                                [[c["name"], json.loads(c["arguments"])] for c in made], stop, usage))
        if not made:
            return told
        answer = {"role": "assistant", "content": "".join(said), "tool_calls": [
            {"id": c["id"], "type": "function", "function": {"name": c["name"], "arguments": c["arguments"]}}
            for c in made]}
        if details:
            answer["reasoning_details"] = [details]
        elif "".join(thoughts):
            answer["reasoning_content"] = "".join(thoughts)
        conversation.append(answer)
        conversation += [{"role": "tool", "tool_call_id": c["id"], "content": "done"} for c in made]


def fail(base, way):
    try:
        converse(base, way, 0)
    except openai.OpenAIError as error:
        return common.failure(error)
    except Exception as error:  # A connection that breaks is not always told as the client's own.
        return common.failure(error)
    return None


def validate(body, way):
    from openai.types.chat import completion_create_params
    from openai.types.responses import response_create_params

    kind = (response_create_params.ResponseCreateParamsStreaming if way == "responses"
            else completion_create_params.CompletionCreateParamsStreaming)
    types = TypeAdapter(kind)
    return common.lost(body, types.dump_python(types.validate_python(body), mode="json", warnings=False))


common.main(converse, fail, validate)
