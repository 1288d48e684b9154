"""reassign-tasks.py DATABASE CONVERSATION: says that a worker's tasks are given to
another; a line in a log is all that it does."""
import sys

print(f"tasks of {sys.argv[2]} reassigned")
