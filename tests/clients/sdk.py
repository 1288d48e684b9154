"""Calls every tool through the Python SDK, which checks each answer against the tool's schema.

    python sdk.py BRIDGE CREDENTIALS_A CREDENTIALS_B
"""

import asyncio
import os
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

BRIDGE, A, B = sys.argv[1:4]


def server(credentials):
    env = dict(os.environ, MCP_BRIDGE_CREDENTIALS=credentials)
    return stdio_client(StdioServerParameters(command=BRIDGE, args=["mcp"], env=env))


async def main():
    async with (server(A) as of_a, server(B) as of_b,
                ClientSession(*of_a) as orchestrator, ClientSession(*of_b) as session):
        await orchestrator.initialize()
        about = await session.initialize()
        assert about.serverInfo.name == "mcp-bridge", about
        names = {tool.name for tool in (await session.list_tools()).tools}

        async def call(name, of=session, **arguments):
            names.discard(name)
            result = await of.call_tool(name, arguments)
            assert not result.isError, (name, result)
            assert result.content[0].text, (name, result)
            return result.structuredContent

        await call("create_conversation", my_role="orchestrator", partner_role="backend worker")
        await call("send_to_partner", message="hello", action_type="info", files_involved=["a.c"])
        await call("check_messages")
        await call("wait_for_messages", timeout=0.01)
        await call("update_my_status", status="working")
        await call("check_partner_status")
        await call("list_workers")
        await call("my_status")
        added = await call("create_tasks", orchestrator, tasks=[{"role": "worker", "title": "one"}, {"role": "worker", "title": "two"}])
        assert added == {"ids": [1, 2]}, added
        for task, end in [(1, "complete_task"), (2, "fail_task")]:
            fence = (await call("claim_task", task_id=task))["task"]["fence"]
            await call("report_progress", task_id=task, fence=fence, note="half", busy_for=60)
            words = {"result": "done"} if end == "complete_task" else {"reason": "no"}
            await call(end, task_id=task, fence=fence, **words)
        await call("list_tasks")
        empty = await call("claim_task")
        assert empty["task"] is None, empty
        assert not names, f"never called: {names}"


asyncio.run(main())
