"""Where and how Serinus runs. `deploy.local` starts and supervises a local stack.

It puts the rooms together and owns processes, ports, tokens and files of the stack; it holds no logic that a room
should own: it never reads a log, a database or a route table.
"""
