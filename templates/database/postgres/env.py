# For the account in DATABASE_URL, if that has no password
POSTGRES_PASSWORD = env.str("POSTGRES_PASSWORD", "")

# Connections to the database, in equal shares for all processes
DATABASE_CONNECTIONS = env.int("DATABASE_CONNECTIONS", 60, validate=at_least_1)
APP_REPLICAS = env.int("APP_REPLICAS", 2, validate=at_least_1)
{% if cookiecutter.topology == "split" %}
WEB_REPLICAS = env.int("WEB_REPLICAS", 2, validate=at_least_1)
{% endif %}

