database = dict(env.DATABASE_URL)
if database["ENGINE"].endswith(".postgresql"):  # without Docker it is SQLite
    # Under ASGI, threads are short-lived, and so would their connections be: each process has a
    # pool. https://docs.djangoproject.com/en/5.2/ref/databases/#connection-pool
    database |= {
        "PASSWORD": database["PASSWORD"] or env.POSTGRES_PASSWORD,
        "CONN_HEALTH_CHECKS": True,  # Postgres may have been restarted
        "OPTIONS": {
            **database.get("OPTIONS", {}),
            "pool": {
                "min_size": 1,
                "max_size": env.DATABASE_CONNECTIONS // env.processes(),
                "timeout": 10,  # seconds that a request waits for a connection
                "max_idle": 10,  # seconds until an unused connection is closed
            },
        },
    }
DATABASES = {"default": database}
SESSION_ENGINE = "config.sessions"
