"""Requests that are an error of who sent them, and no error of this site."""

from contextlib import suppress

from django.core.exceptions import TooManyFieldsSent


def answerable(handler):
    """Have a handler of Django answer 400 where a query cannot be read, as a view would.

    Django looks into it when it makes the request, before anything could answer: a charset is set,
    for which the fields are read anew. Here they are read when somebody asks for them.

    Args:
        handler: the ASGI or the WSGI one.
    """

    class Request(handler.request_class):
        def _set_content_type_params(self, meta: dict) -> None:
            with suppress(TooManyFieldsSent):
                super()._set_content_type_params(meta)

    handler.request_class = Request
    return handler
