"""Permanent settings of the user: the configuration file, its keys and their meaning.

Not here: choices made on the screen, which are lost at its end (``vmqtui.state.choices``).
"""
