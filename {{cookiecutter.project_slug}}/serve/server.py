{% include "server/" ~ cookiecutter.asgi_server ~ ".py" %}
