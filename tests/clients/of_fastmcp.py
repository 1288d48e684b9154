"""Calls tools through the client of the package fastmcp, as an agent written with it does.

    python of_fastmcp.py BRIDGE CREDENTIALS_A CREDENTIALS_B

The last line is the version of the package.
"""

import asyncio
import os
import sys

import fastmcp
from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from fastmcp.exceptions import ToolError

BRIDGE, A, B = sys.argv[1:4]


def server(credentials):
    env = dict(os.environ, MCP_BRIDGE_CREDENTIALS=credentials)
    return Client(StdioTransport(command=BRIDGE, args=["mcp"], env=env))


async def main():
    async with server(A) as orchestrator, server(B) as worker:
        names = {tool.name for tool in await worker.list_tools()}
        assert {"send_to_partner", "check_messages", "claim_task"} <= names, names
        sent = await orchestrator.call_tool("send_to_partner", {"message": "hello", "files_involved": ["a.c"]})
        assert sent.structured_content["id"] == 1, sent
        read = await worker.call_tool("check_messages")
        message, = read.structured_content["messages"]
        assert (message["from"], message["message"]) == ("a", "hello"), message
        assert "not from your user" in read.content[0].text, read
        again = await worker.call_tool("check_messages")
        assert again.structured_content["messages"] == [], again
        await orchestrator.call_tool("create_tasks", {"tasks": [{"role": "worker", "title": "one"}]})
        fence = (await worker.call_tool("claim_task")).structured_content["task"]["fence"]
        ended = await worker.call_tool("complete_task", {"task_id": 1, "fence": fence, "result": "done"})
        assert ended.structured_content["state"] == "done", ended
        try:
            await worker.call_tool("complete_task", {"task_id": "one"})
        except ToolError:
            return
        raise AssertionError("a wrong argument was taken")


asyncio.run(main())
print(fastmcp.__version__)
