    server = wsgi if "wsgi.version" in request.META else asgi
