"""Dialogs: ask for values, ask the engine, show its answer in words.

Not here: which key opens them (``vmqtui.actions``) or how requests travel (``vmqtui.link``).
"""
