"""What calls cost, in integers. `table.table` builds the price table, `cost.Pricing` answers from it (`ports.Prices`).

Nothing but `compile`, which is run at packaging time, imports genai-prices: it is 105 MB in a process.
"""
