"""The tasks of the user, independent of the screen: the fields, checks and requests of each.

Not here: the dialogs that show them (``vmqtui.dialogs``) or the keys that open them (``vmqtui.actions``).
"""
