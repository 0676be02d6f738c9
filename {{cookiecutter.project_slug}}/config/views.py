"""What this deployment sees of itself."""

import socket
from importlib.metadata import version

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, JsonResponse

{% if cookiecutter.topology == "split" %}
from serve import server as asgi
from serve import web as wsgi
{% else %}
from serve import server
{% endif %}


def whoami(request: HttpRequest) -> JsonResponse:
    """Tell what the application sees of a request, to check the proxy in front of it.

    Raises:
        PermissionDenied: to all but staff, except in development.
    """
    if not (settings.DEBUG or request.user.is_staff):
        raise PermissionDenied
{% if cookiecutter.topology == "split" %}
    server = wsgi if "wsgi.version" in request.META else asgi
{% endif %}
    return JsonResponse(
        {
            "scheme": request.scheme,
            "client": request.META.get("REMOTE_ADDR"),  # a Unix socket has none
            "host": request.get_host(),
            "root_path": request.META["SCRIPT_NAME"],
            "server": {"name": server.NAME, "version": version(server.NAME)},
            "replica": socket.gethostname(),
        }
    )
