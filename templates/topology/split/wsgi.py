"""The WSGI application, for pages: from the outside in, the order in which a request passes."""

import os
from functools import partial
from wsgiref.types import WSGIApplication

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.core.wsgi import get_wsgi_application
from django.http import QueryDict
from django.utils.functional import cached_property

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# It is async, and would cost an event loop per page. nginx serves the static files.
settings.MIDDLEWARE = [
    name for name in settings.MIDDLEWARE if name != "config.staticfiles.Middleware"
]
# First, because it loads the models that the imports below need.
pages = get_wsgi_application()

from config import env
from config.handlers import tolerate_bad_query
from config.readiness import READINESS_CHECKS
from serve.middleware import wrap
from serve.wsgi import (
    ConnectionLimitMiddleware,
    ForwardedHeadersMiddleware,
    HealthMiddleware,
    RequestIdMiddleware,
)


class Request(WSGIRequest):
    """A request whose query is UTF-8: https://url.spec.whatwg.org/#urlencoded-parsing

    Django decodes it with the charset of the Content-Type, which may be any codec that Python has,
    before an error could be answered with 400.
    """

    @cached_property
    def GET(self) -> QueryDict:  # type: ignore[override]  # noqa: N802
        return QueryDict(self.META.get("QUERY_STRING", ""))


pages.request_class = Request
application: WSGIApplication = wrap(
    # The client's address and scheme, on which everything below relies.
    partial(
        ForwardedHeadersMiddleware,
        trusted_proxies=env.TRUSTED_PROXIES,
        root_path=env.ROOT_PATH,
    ),
    # Outside Django, which would check the Host header.
    partial(HealthMiddleware, checks=READINESS_CHECKS),
    # Before anything is logged.
    RequestIdMiddleware,
    # Inside the health checks: a busy process is alive.
    ConnectionLimitMiddleware,
    app=tolerate_bad_query(pages),
)
