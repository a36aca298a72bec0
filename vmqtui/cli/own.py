"""What a person has set, for the commands that show a screen."""

from engine.scenario.values import show
from vmqtui.preferences.file import PreferencesError, config_path, load_preferences
from vmqtui.preferences.model import Preferences


def own_preferences() -> Preferences:
    """The configuration, its theme being one that there is. Raises ``PreferencesError``.

    A theme whose file is broken is no error here: the screen reports it, and goes on with another.
    """
    preferences = load_preferences()
    if preferences.theme is not None:
        from vmqtui.theme import load_themes

        themes, problems = load_themes()
        broken = any(f"{preferences.theme}.toml" in problem for problem in problems)
        if preferences.theme not in themes and not broken:
            fitting = ", ".join(themes)
            raise PreferencesError(
                f"{config_path()}: theme: {show(preferences.theme)} is not a theme ({fitting} fits)"
            )
    return preferences
