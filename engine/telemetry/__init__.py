"""Telemetry messages (stats, config, events, summaries), how they are made, packed and recorded.

Not here: how they are sent (``bus``) or drawn (``vmqtui``).
"""
