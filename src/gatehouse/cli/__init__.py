"""The command line. Each command is a module of its own, imported only when it is called: `gatehouse version` is quick.

Exit codes of every command: 0 done; 1 it failed, or the answer is no; 2 wrong usage or configuration; 130 interrupted.
"""
