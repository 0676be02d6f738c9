"""Requests that are an error of who sent them, and no error of this site."""

from contextlib import suppress

from django.core.exceptions import TooManyFieldsSent
from django.http import QueryDict
from django.utils.functional import cached_property


def answerable(handler):
    """Have a handler of Django answer as a view would where a query cannot be read.

    Django looks into it when it makes the request, before anything could answer, and under WSGI in
    the charset of the body, which may be anything that Python has a codec for. Here it is read when
    somebody asks for it, as UTF-8: https://url.spec.whatwg.org/#urlencoded-parsing

    Args:
        handler: the ASGI or the WSGI one.
    """

    class Request(handler.request_class):
        def _set_content_type_params(self, meta: dict) -> None:
            with suppress(TooManyFieldsSent):
                super()._set_content_type_params(meta)

        @cached_property
        def GET(self) -> QueryDict:
            return QueryDict(self.META.get("QUERY_STRING", ""))

    handler.request_class = Request
    return handler
