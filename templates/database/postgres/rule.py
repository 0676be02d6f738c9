        (
            processes() <= DATABASE_CONNECTIONS,
            f"DATABASE_CONNECTIONS ({DATABASE_CONNECTIONS}) must be at least one for each process,"
{% if cookiecutter.topology == "split" %}
            f" of which APP_REPLICAS, WEB_REPLICAS and WEB_CONCURRENCY make {processes()}.",
{% else %}
            f" of which APP_REPLICAS and WEB_CONCURRENCY make {processes()}.",
{% endif %}
        ),
