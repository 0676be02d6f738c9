"""Types of what middleware adds to an ASGI scope."""

from asgiref.typing import WebSocketScope
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.contrib.sessions.backends.base import SessionBase


class UserScope(WebSocketScope):
    """The scope of a socket whose session has been read."""

    user: AbstractBaseUser | AnonymousUser
    session: SessionBase
