"""The project itself as a Django application: its templates, static files and commands."""

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    """Registers the system checks of the environment."""

    name = "config"

    def ready(self) -> None:
        from config import checks  # noqa: F401
