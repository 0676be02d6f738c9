"""By which key failed log-ins are counted."""

from ipaddress import ip_address, ip_network

from django.http import HttpRequest


def login_throttling_key(request: HttpRequest) -> str | None:
    """Return the login-throttling key: an IPv4 address or an IPv6 /64.

    A household has 2^64 IPv6 addresses or more, and could guess from each of them.
    https://www.ripe.net/publications/docs/ripe-690/

    Returns:
        None on a Unix socket, if no proxy names the client.
    """
    text = request.META.get("REMOTE_ADDR") or None
    if not text or (address := ip_address(text)).version == 4 or address.ipv4_mapped:
        return text
    return str(ip_network((text, 64), strict=False).network_address)
