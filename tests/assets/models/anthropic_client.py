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
    from anthropic.types import ContentBlockParam, message_create_params

    def strange(kind, value):
        types = TypeAdapter(kind)
        return common.lost(value, types.dump_python(types.validate_python(value), mode="json", warnings=False))

    # Where a type takes anything that can be iterated, nothing is left of it: the blocks go one by one.
    found = []
    for message in body["messages"]:
        blocks, message["content"] = message["content"], "x"
        for block in blocks:
            inner, texts = dict(block), []
            if block["type"] == "tool_result":
                texts, inner["content"] = inner["content"], "x"
            found += strange(ContentBlockParam, inner)
            found += [place for text in texts for place in strange(ContentBlockParam, text)]
    return found + strange(message_create_params.MessageCreateParamsStreaming, body)


common.main(converse, fail, validate)
