"""Who sent a request, and what is an error of theirs and none of this site."""

from contextlib import suppress
from ipaddress import ip_address, ip_network

from django.core.exceptions import TooManyFieldsSent
from django.http import HttpRequest


def client(request: HttpRequest) -> str | None:
    """Return who may get a password wrong so many times: an address, or a network of IPv6.

    A household has 2^64 of those addresses or more, and could guess from each.
    https://www.ripe.net/publications/docs/ripe-690/

    Returns:
        None on a Unix socket, if no proxy says who it is.
    """
    text = request.META.get("REMOTE_ADDR") or None
    if not text or (address := ip_address(text)).version == 4 or address.ipv4_mapped:
        return text
    return str(ip_network((text, 64), strict=False).network_address)


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
