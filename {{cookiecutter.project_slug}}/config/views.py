"""What this deployment sees of itself."""

import socket
from importlib.metadata import version

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, JsonResponse

{% include "topology/" ~ cookiecutter.topology ~ "/servers.py" %}


def whoami(request: HttpRequest) -> JsonResponse:
    """Tell what the application sees of a request, to check the proxy in front of it.

    Raises:
        PermissionDenied: to all but staff, except in development.
    """
    if not (settings.DEBUG or request.user.is_staff):
        raise PermissionDenied
{% include "topology/" ~ cookiecutter.topology ~ "/whoami.py" ignore missing %}
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
