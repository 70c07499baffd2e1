"""Limits over several workers and machines: `ports.Limits` on a Redis or Valkey server.

`ledger.lua`, with `windows.lua`, and `rebuild.lua` are the rules, run by the server in one step each; `holdings` is
what a worker holds of them, `desk` how one tenant's calls and news get there and back, `limits` the port, `connection`
the wire, `rebuilding` what the control plane does when the server lost its state, `embedded` a server of our own;
`background` keeps beside all that which calls began responses that several machines may read.

Rules
- The server caches the ledger, which is the journal: whatever it forgets is rebuilt from there.
- What a worker holds and has settled it says in absolute numbers, under its own name and a turn that only grows. So a
  batch that is repeated, lost or overtaken counts neither twice nor never, and a caller that leaves leaks nothing.
- Calls wait for the server only where the worker holds no lease that covers them; news of calls that ended never does.
"""
