def processes() -> int:
    """Return how many processes share the connections to the database."""
{% if cookiecutter.topology == "split" %}
    return (APP_REPLICAS + WEB_REPLICAS) * WEB_CONCURRENCY
{% else %}
    return APP_REPLICAS * WEB_CONCURRENCY
{% endif %}


