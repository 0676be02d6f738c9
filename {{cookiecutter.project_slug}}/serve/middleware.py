"""Composing applications."""

from collections.abc import Callable
{% if cookiecutter.topology == "split" %}
from typing import TypeVar
from wsgiref.types import WSGIApplication

from asgiref.typing import ASGI3Application

App = TypeVar("App", ASGI3Application, WSGIApplication)


def wrap(*middleware: Callable[[App], App], app: App) -> App:
{% else %}

from asgiref.typing import ASGI3Application

Middleware = Callable[[ASGI3Application], ASGI3Application]


def wrap(*middleware: Middleware, app: ASGI3Application) -> ASGI3Application:
{% endif %}
    """Wrap an application in middleware.

    Args:
        middleware: each makes an application from the one inside it; the first is the outermost.
        app: the innermost application.
    """
    for layer in reversed(middleware):
        app = layer(app)
    return app
