"""The former name of ``vmqtui.pytest_plugin``, which installations made before the move still load."""

pytest_plugins = ["vmqtui.pytest_plugin"]
