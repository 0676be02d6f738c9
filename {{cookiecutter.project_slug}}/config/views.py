"""Error pages, and a page for staff that shows what the application sees of a request."""

import socket
from importlib.metadata import version
from urllib.parse import quote

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBadRequest,
    HttpResponseForbidden,
    HttpResponseNotFound,
    HttpResponseServerError,
    JsonResponse,
)
from django.template import loader

{% if cookiecutter.topology == "split" %}
from serve import server as asgi
from serve import web as wsgi
{% else %}
from serve import server
{% endif %}


def whoami(request: HttpRequest) -> JsonResponse:
    """Return what the application sees of a request, to check the proxy in front of it.

    Raises:
        PermissionDenied: the user is not staff; in development all users may see it.
    """
    if not (settings.DEBUG or request.user.is_staff):
        raise PermissionDenied
{% if cookiecutter.topology == "split" %}
    server = wsgi if "wsgi.version" in request.META else asgi
{% endif %}
    return JsonResponse(
        {
            "scheme": request.scheme,
            "client": request.META.get("REMOTE_ADDR"),  # empty on a Unix socket
            "host": request.get_host(),
            "root_path": request.META["SCRIPT_NAME"],
            "server": {"name": server.NAME, "version": version(server.NAME)},
            "replica": socket.gethostname(),
        }
    )


# The error pages, without the `requires_csrf_token` of Django's own: it parses the form, and a form
# that cannot be parsed would turn a 400 into a 500.
# https://docs.djangoproject.com/en/5.2/topics/http/views/#customizing-error-views


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 400, without the request: it may have no valid host, and no user yet."""
    return HttpResponseBadRequest(loader.render_to_string("400.html"))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 403."""
    context = {"exception": str(exception)}
    return HttpResponseForbidden(loader.render_to_string("403.html", context, request))


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404."""
    context = {"request_path": quote(request.path), "exception": str(exception)}
    return HttpResponseNotFound(loader.render_to_string("404.html", context, request))


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500, without context processors: one of them may be the cause."""
    return HttpResponseServerError(loader.render_to_string("500.html"))
