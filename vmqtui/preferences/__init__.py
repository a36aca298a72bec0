"""What a person has set for good: the configuration file, its keys and what they mean.

Not here: what was chosen on the screen, which ends with it (``vmqtui.state.choices``).
"""
