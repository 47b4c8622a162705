"""Lists and calls the tools with MCP's own Python client; prints what it saw as JSON."""

import asyncio
import json
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


def plain(result):
    return result.model_dump(mode="json", by_alias=True)


async def main() -> None:
    server = StdioServerParameters(command=sys.argv[1], args=sys.argv[2:])
    async with stdio_client(server) as streams, ClientSession(*streams) as session:
        hello = await session.initialize()
        listed = await session.list_tools()
        await session.send_ping()
        read = await session.call_tool("read_text_file", {"path": "a.txt"})
        denied = await session.call_tool("read_text_file", {"path": "/etc/passwd"})
        print(json.dumps({
            "hello": plain(hello),
            "tools": [tool.name for tool in listed.tools],
            "read": plain(read),
            "denied": plain(denied),
        }))


asyncio.run(main())
