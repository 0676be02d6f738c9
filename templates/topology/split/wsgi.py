"""The application as gunicorn calls it, for pages alone: health checks and pages."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# It is async: each page would cost an event loop. And nginx asks nobody here for a file.
settings.MIDDLEWARE = [
    name for name in settings.MIDDLEWARE if name != "config.staticfiles.Middleware"
]
# First, because it loads the models that the module below imports.
pages = get_wsgi_application()

from config.requests import answerable  # noqa: E402
from realtime.wsgi import Health, Limit, Proxy, RequestId  # noqa: E402

application = Proxy(Health(RequestId(Limit(answerable(pages)))))
