"""Adds the sockets to the project's."""

from django.apps import AppConfig


class ExtraConfig(AppConfig):
    name = "extra"

    def ready(self) -> None:
        from extra.consumers import sockets
        from rooms import routes

        routes.sockets[:0] = sockets
