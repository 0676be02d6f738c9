{% include "worker/" ~ cookiecutter.asgi_server ~ ".py" %}
