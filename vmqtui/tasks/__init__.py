"""The controls without a screen: what each asks for, checks, and requests.

Not here: the dialogs that show them (``vmqtui.dialogs``) or the keys that open them (``vmqtui.actions``).
"""
