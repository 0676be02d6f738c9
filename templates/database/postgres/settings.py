database = dict(contract.DATABASE_URL)
if database["ENGINE"].endswith(".postgresql"):  # without Docker it is SQLite
    # Threads come and go under ASGI and would take their connections with them, so each process has
    # a pool. https://docs.djangoproject.com/en/5.2/ref/databases/#connection-pool
    database |= {
        "PASSWORD": database["PASSWORD"] or contract.POSTGRES_PASSWORD,
        "CONN_HEALTH_CHECKS": True,  # some are older than the last restart of Postgres
        "OPTIONS": {
            **database.get("OPTIONS", {}),
            "pool": {
                "min_size": 1,
                "max_size": contract.DATABASE_CONNECTIONS // contract.processes(),
                "timeout": 10,  # seconds that a request waits for a free one
                "max_idle": 10,  # seconds after which one that nobody needs is closed
            },
        },
    }
DATABASES = {"default": database}
SESSION_ENGINE = "config.sessions"
