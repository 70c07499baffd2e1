"""Rates, concurrency, spend: `ports.Limits` in one process (`local`) and over several (`shared`). Pure, but `shared`.

From the outside in: `local` and `claim` (a call's steps) · `ledger` (which counters a call has) · `reserving`,
`refusals`, `standing` (what fits, what a caller is told) · `counters`, `funds` (how one counter counts) · `sliding`,
`calendar` (windows and periods) · `bound` (what a call can use at most).
"""
