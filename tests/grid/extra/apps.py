"""Add the test consumers to the project's WebSocket routes."""

from django.apps import AppConfig


class ExtraConfig(AppConfig):
    name = "extra"

    def ready(self) -> None:
        from extra.consumers import websocket_urlpatterns
        from rooms import routing

        routing.websocket_urlpatterns[:0] = websocket_urlpatterns
