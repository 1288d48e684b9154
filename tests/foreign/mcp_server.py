"""The Python bridge as agents meet it: an MCP server on standard input and output
with its five tools, over the tables of bridge.py. Needs the package `mcp`."""

import json
import sys

from mcp.server.fastmcp import FastMCP

from bridge import Bridge

bridge = Bridge(sys.argv[1])
bridge.init(older_status="--older" in sys.argv)
server = FastMCP("bridge")


@server.tool()
def create_conversation(my_role: str, partner_role: str) -> str:
    """Makes a conversation, with a token for each side."""
    return json.dumps(bridge.create())


@server.tool()
def send_to_partner(conversation_id: str, session_id: str, token: str, message: str,
                    action_type: str = "info") -> str:
    """Sends a message to the other side."""
    bridge.send(conversation_id, session_id, token, message)
    return "sent"


@server.tool()
def check_messages(conversation_id: str, session_id: str, token: str) -> str:
    """Reads unread messages and marks them."""
    return json.dumps([m["message"] for m in bridge.read(conversation_id, session_id, token)])


@server.tool()
def update_my_status(conversation_id: str, session_id: str, token: str, status: str) -> str:
    """Says what this side is doing."""
    bridge.status(conversation_id, session_id, token, status)
    return "updated"


@server.tool()
def check_partner_status(conversation_id: str, session_id: str, token: str) -> str:
    """Tells what the other side said last."""
    return json.dumps(bridge.partner(conversation_id, session_id, token))


if __name__ == "__main__":
    server.run()
