"""Telemetry messages (stats, config, events, summaries): their types, how they are made, packed and recorded.

``bus`` sends them, ``vmqtui`` draws them.
"""
