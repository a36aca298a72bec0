"""Facts for people: snapshots of counters, the configuration, events, rates and reports.

Not here: how they travel (``bus``) or how they are drawn (``vmqtui``).
"""
