complete --keep-order --exclusive --command mcp-bridge --arguments "(COMPLETE=fish mcp-bridge -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
