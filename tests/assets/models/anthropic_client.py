"""The official `anthropic` client."""

import anthropic
import common
from pydantic import TypeAdapter


def client(base, retries):
    return anthropic.Anthropic(base_url=base, api_key=common.KEY, max_retries=retries,
                               _strict_response_validation=True)


def converse(base, _way, retries):
    api = client(base, retries)
    tools = [{"name": name, "input_schema": common.PARAMETERS} for name in common.TOOLS]
    conversation = [{"role": "user", "content": "go"}]
    told = []
    while True:
        with api.messages.stream(model=common.MODEL, max_tokens=16000, messages=conversation, tools=tools,
                                 thinking={"type": "enabled", "budget_tokens": 2000}) as stream:
            deltas = list(stream.text_stream)
            answer = stream.get_final_message()
        calls = [block for block in answer.content if block.type == "tool_use"]
        said = "".join(block.text for block in answer.content if block.type == "text")
        assert said == "".join(deltas), "the pieces are not the whole"
        thoughts = "".join(block.thinking for block in answer.content if block.type == "thinking")
        usage = answer.usage
        told.append(common.turn(said, thoughts, [[c.name, c.input] for c in calls], answer.stop_reason,
                                [usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens]))
        if not calls:
            return told
        conversation.append({"role": "assistant", "content": [block.to_dict() for block in answer.content]})
        conversation.append({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": c.id, "content": "done"} for c in calls]})


def fail(base, way):
    try:
        converse(base, way, 0)
    except Exception as error:  # A connection that breaks is not always told as the client's own.
        return common.failure(error)
    return None


def validate(body, _way):
    from anthropic.types import message_create_params

    types = TypeAdapter(message_create_params.MessageCreateParamsStreaming)
    return common.lost(body, types.dump_python(types.validate_python(body), mode="json", warnings=False))


common.main(converse, fail, validate)
