"""Settings of the user that last: the configuration file with its keys, and the state file beside it.

Not here: choices as the screen makes them (``vmqtui.state.choices``).
"""
