"""The official `google-genai` client."""

import common
from google import genai
from google.genai import types


def client(base, retries):
    again = types.HttpRetryOptions(attempts=retries + 1, initial_delay=0.1, max_delay=1)
    return genai.Client(api_key=common.KEY, http_options=types.HttpOptions(base_url=base, retry_options=again))


def converse(base, _way, retries):
    api = client(base, retries)
    declared = [types.FunctionDeclaration(name=name, parameters_json_schema=common.PARAMETERS)
                for name in common.TOOLS]
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=declared)],
        thinking_config=types.ThinkingConfig(include_thoughts=True),
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True))
    conversation = [types.Content(role="user", parts=[types.Part(text="go")])]
    told = []
    while True:
        parts, stop, usage = [], "", None
        for chunk in api.models.generate_content_stream(model=common.MODEL, contents=conversation, config=config):
            usage = chunk.usage_metadata or usage
            for candidate in chunk.candidates or []:
                parts += (candidate.content.parts or []) if candidate.content else []
                stop = candidate.finish_reason.value if candidate.finish_reason else stop
        calls = [part.function_call for part in parts if part.function_call]
        said = "".join(part.text or "" for part in parts if not part.thought)
        thoughts = "".join(part.text or "" for part in parts if part.thought)
        told.append(common.turn(said, thoughts, [[c.name, c.args] for c in calls], stop,
                                [usage.prompt_token_count, usage.cached_content_token_count,
                                 usage.candidates_token_count, usage.thoughts_token_count]))
        if not calls:
            return told
        conversation.append(types.Content(role="model", parts=parts))
        conversation.append(types.Content(role="user", parts=[
            types.Part(function_response=types.FunctionResponse(id=c.id, name=c.name, response={"output": "done"}))
            for c in calls]))


def fail(base, way):
    try:
        converse(base, way, 0)
    except Exception as error:  # A connection that breaks is not always told as the client's own.
        return common.failure(error)
    return None


def validate(body, _way):
    kinds = {"contents": list[types.Content], "systemInstruction": types.Content, "tools": list[types.Tool],
             "toolConfig": types.ToolConfig, "generationConfig": types.GenerationConfig,
             "safetySettings": list[types.SafetySetting]}
    strange = [key for key in body if key not in kinds]
    for key, value in body.items():
        # These types refuse what they do not know.
        __import__("pydantic").TypeAdapter(kinds[key]).validate_python(value)
    return strange


common.main(converse, fail, validate)
