"""Adaptations of Django's request handlers."""

from contextlib import suppress
from typing import TypeVar

from django.core.exceptions import TooManyFieldsSent
from django.core.handlers.base import BaseHandler

Handler = TypeVar("Handler", bound=BaseHandler)


def tolerate_bad_query(handler: Handler) -> Handler:
    """Let a query with too many fields be answered with 400, as other bad input is.

    If the Content-Type of a request has a charset, Django parses the query while it makes the
    request object, where the exception is a server error: Django handles it only once there is a
    request (https://code.djangoproject.com/ticket/27820). With this, the query is parsed when a
    view or a middleware reads it.

    Args:
        handler: returned by get_asgi_application(){{ " or get_wsgi_application()" if cookiecutter.topology == "split" }}.
    """

    class Request(handler.request_class):  # type: ignore[name-defined]
        def _set_content_type_params(self, meta: dict[str, str]) -> None:
            with suppress(TooManyFieldsSent):
                super()._set_content_type_params(meta)

    handler.request_class = Request  # type: ignore[attr-defined]
    return handler
