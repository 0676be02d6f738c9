"""Requests that are an error of who sent them, and no error of this site."""

from contextlib import suppress

from django.core.exceptions import TooManyFieldsSent


def answerable(handler):
    """Have a handler of Django answer as a view would where a query has too many fields.

    Django looks into it when it makes the request, before anything could answer, if the body says
    its charset. Here it is found out when somebody asks for a field.

    Args:
        handler: what get_asgi_application() and its like return.
    """

    class Request(handler.request_class):
        def _set_content_type_params(self, meta: dict) -> None:
            with suppress(TooManyFieldsSent):
                super()._set_content_type_params(meta)

    handler.request_class = Request
    return handler
