"""Dialogs: forms, lists of choices, previews, and the engine's answers in words.

Not here: which key opens them (``vmqtui.actions``) or how requests travel (``vmqtui.link``).
"""
