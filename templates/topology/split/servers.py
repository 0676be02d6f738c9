from serve import server as asgi
from serve import web as wsgi
