"""The application as gunicorn calls it, for pages alone: health checks and pages."""

import os

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.core.wsgi import get_wsgi_application
from django.http import QueryDict
from django.utils.functional import cached_property

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# It is async: each page would cost an event loop. And nginx asks nobody here for a file.
settings.MIDDLEWARE = [
    name for name in settings.MIDDLEWARE if name != "config.staticfiles.Middleware"
]
# First, because it loads the models that the module below imports.
pages = get_wsgi_application()

from config.requests import answerable
from realtime.wsgi import Health, Limit, Proxy, RequestId


class Request(WSGIRequest):
    """A request whose query is UTF-8: https://url.spec.whatwg.org/#urlencoded-parsing

    Django reads it in the charset that the body says, which may be anything that Python has a codec
    for, before anything could answer that it cannot.
    """

    @cached_property
    def GET(self) -> QueryDict:
        return QueryDict(self.META.get("QUERY_STRING", ""))


pages.request_class = Request
application = Proxy(Health(RequestId(Limit(answerable(pages)))))
