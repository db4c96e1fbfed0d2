"""A client of the Model Context Protocol, by its official SDK.

Arguments: a JSON list of calls, each [tool, arguments], and the command of the server. Prints one JSON object: the server's
name and instructions, its tools, and of each call whether it failed and its text.
"""

import asyncio
import json
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main(calls, command):
    async with stdio_client(StdioServerParameters(command=command[0], args=command[1:])) as streams:
        async with ClientSession(*streams) as session:
            server = await session.initialize()
            tools = await session.list_tools()
            results = []
            for name, arguments in calls:
                try:
                    result = await session.call_tool(name, arguments)
                    results.append({"failed": result.is_error, "text": result.content[0].text})
                except Exception as error:  # What the protocol refuses.
                    results.append({"refused": str(error)})
            print(json.dumps({
                "name": server.server_info.name,
                "instructions": server.instructions,
                "tools": [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools.tools],
                "results": results,
            }))


asyncio.run(main(json.loads(sys.argv[1]), sys.argv[2:]))
